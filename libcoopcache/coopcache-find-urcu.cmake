# Defines coopcache::urcu (user-space RCU, the "bulletproof" flavour) and
# coopcache::urcu_cds (its containers), and sets coopcache_urcu_FOUND.

find_path(COOPCACHE_URCU_INCLUDE_DIR urcu/urcu-bp.h)
find_library(COOPCACHE_URCU_BP_LIBRARY urcu-bp)
find_library(COOPCACHE_URCU_COMMON_LIBRARY urcu-common)
find_library(COOPCACHE_URCU_CDS_LIBRARY urcu-cds)
mark_as_advanced(COOPCACHE_URCU_INCLUDE_DIR COOPCACHE_URCU_BP_LIBRARY
  COOPCACHE_URCU_COMMON_LIBRARY COOPCACHE_URCU_CDS_LIBRARY)

if(COOPCACHE_URCU_INCLUDE_DIR AND COOPCACHE_URCU_BP_LIBRARY
   AND COOPCACHE_URCU_COMMON_LIBRARY)
  set(coopcache_urcu_FOUND TRUE)
else()
  set(coopcache_urcu_FOUND FALSE)
endif()

if(coopcache_urcu_FOUND AND NOT TARGET coopcache::urcu)
  add_library(coopcache::urcu UNKNOWN IMPORTED)
  set_target_properties(coopcache::urcu PROPERTIES
    IMPORTED_LOCATION "${COOPCACHE_URCU_BP_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${COOPCACHE_URCU_INCLUDE_DIR}"
    INTERFACE_LINK_LIBRARIES "${COOPCACHE_URCU_COMMON_LIBRARY}")
  if(COOPCACHE_URCU_CDS_LIBRARY)
    add_library(coopcache::urcu_cds UNKNOWN IMPORTED)
    set_target_properties(coopcache::urcu_cds PROPERTIES
      IMPORTED_LOCATION "${COOPCACHE_URCU_CDS_LIBRARY}"
      INTERFACE_LINK_LIBRARIES coopcache::urcu)
  endif()
endif()

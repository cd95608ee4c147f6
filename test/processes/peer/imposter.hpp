#pragma once

#include <cstdint>
#include <string>

/// Listens on a port of the loopback interface as a CAF application that is no
/// node (`stranger`), or as a node of another version (`newer`), until its
/// input ends. Returns the status of the process.
int pretend(const std::string& kind, std::uint16_t port);

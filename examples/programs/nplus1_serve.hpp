// Lets nplus1 differentiate and minimize a C++ function. Copy this file beside yours:
//
//     #include "nplus1_serve.hpp"
//     int main() { return nplus1::serve(loss, {-1.2, 1.0}); }
//
// loss(theta) takes a const std::vector<double>& and returns a double; an exception says that it has
// no value there. Write messages to std::cerr: standard output belongs to the protocol.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

namespace nplus1 {

// Returns what follows "key": in a request, or a null pointer.
inline const char* member(const std::string& line, const char* key) {
    std::size_t at = line.find("\"" + std::string(key) + "\":");
    return at == std::string::npos ? nullptr : line.c_str() + at + std::string(key).size() + 3;
}

template <typename Loss>
int serve(Loss loss, const std::vector<double>& start = {}) {
    std::printf("{\"nplus1\":1,\"single_changes\":true");
    for (std::size_t i = 0; i < start.size(); ++i)
        std::printf("%s%.17g", i == 0 ? ",\"theta\":[" : ",", start[i]);
    std::printf(start.empty() ? "}\n" : "]}\n");
    std::fflush(stdout);
    std::vector<double> theta;
    for (std::string line; std::getline(std::cin, line);) {
        if (const char* at = member(line, "theta")) {
            theta.clear();
            for (char* end; *at != ']'; at = end) theta.push_back(std::strtod(at + 1, &end));
        }
        const char *id = member(line, "id"), *index = member(line, "index");
        std::size_t changed = index ? std::strtoul(index, nullptr, 10) : 0;
        double kept = index ? theta[changed] : 0;
        if (index) theta[changed] = std::strtod(member(line, "value"), nullptr);
        try {
            std::printf("{\"id\":%ld,\"loss\":%.17g}\n", std::strtol(id, nullptr, 10), loss(theta));
        } catch (const std::exception& error) {
            std::cerr << error.what() << std::endl;
            std::printf("{\"id\":%ld,\"error\":\"exception\"}\n", std::strtol(id, nullptr, 10));
        }
        std::fflush(stdout);
        if (index) theta[changed] = kept;  // a change is for this request only
    }
    return 0;
}

}  // namespace nplus1

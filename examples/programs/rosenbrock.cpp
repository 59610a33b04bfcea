// Rosenbrock's function of any number of parameters:
//     c++ -O2 -o rosenbrock examples/programs/rosenbrock.cpp
//     nplus1 minimize --program ./rosenbrock
#include "nplus1_serve.hpp"

double rosenbrock(const std::vector<double>& x) {
    double sum = 0;
    for (std::size_t i = 0; i + 1 < x.size(); ++i) {
        double bend = x[i + 1] - x[i] * x[i];
        sum += (1 - x[i]) * (1 - x[i]) + 100 * bend * bend;
    }
    return sum;
}

int main() { return nplus1::serve(rosenbrock, {-1.2, 1.0, -1.2, 1.0}); }

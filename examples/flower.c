/* Asks the network in iris.c, which `nplus1 export RUN -o iris.c` writes, about a flower. */
#include <stdio.h>
#include "iris.c"

int main(void)
{
    const float flower[NPLUS1_FEATURES] = {5.9f, 3.0f, 5.1f, 1.8f}; /* sepal and petal, in cm */
    float probabilities[NPLUS1_OUTPUTS];
    const int class = nplus1_predict(flower, probabilities);

    printf("%s, with probability %.3f\n", nplus1_class_names[class], probabilities[class]);
    return 0;
}

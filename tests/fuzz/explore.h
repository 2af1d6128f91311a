/* The entry point of a fuzz target, as libFuzzer has it. */
#ifndef ANTUMBRA_TESTS_EXPLORE_H
#define ANTUMBRA_TESTS_EXPLORE_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

#endif

/* Prints how many microseconds it takes to touch a page of fresh memory: what a program that has just started does more than
 * anything else, and what differs most between machines, above all virtual ones. */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE_BYTES 4096
#define PAGES 2000
#define ROUNDS 9

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

int main(void)
{
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        char *memory = mmap(NULL, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED || madvise(memory, PAGES * PAGE_BYTES, MADV_NOHUGEPAGE) < 0)
            return perror("page-fault"), 1;
        double began = now();
        for (int page = 0; page < PAGES; page++)
            memory[page * PAGE_BYTES] = 1;
        double each = (now() - began) / PAGES;
        if (round == 0 || each < best)
            best = each;
        munmap(memory, PAGES * PAGE_BYTES);
    }
    printf("%.2f\n", best);
    return 0;
}

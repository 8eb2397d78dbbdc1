/* Feeds frames to the plan decoder, with the sanitizers on: each file named, or stdin. With `-n COUNT SEED` before
 * the files, COUNT mutations of each: bytes, 32-bit words and lengths replaced, ranges moved. What a decoded plan
 * points to is read through to its end. */
#include "plan.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t state;
static unsigned long accepted;

/* xorshift64*: a seed gives the same mutations everywhere. */
static uint32_t random_below(uint32_t limit)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * 0x2545f4914f6cdd1dull) >> 32) % limit;
}

static unsigned long read_argument(char wire, const union arg *arg)
{
    unsigned long sum = 0;
    if (wire == 's' || wire == 'b') {
        for (uint32_t i = 0; i < arg->length; i++)
            sum += (unsigned char)arg->bytes[i];
        return wire == 's' ? sum + strlen(arg->bytes) : sum;
    }
    if (wire == 'l')
        for (char **text = arg->list; *text; text++)
            sum += strlen(*text);
    return sum;
}

static void decode(const char *frame, size_t bytes)
{
    struct plan_header header;
    struct plan plan;
    const char *why;
    unsigned long sum = 0;
    if (bytes < sizeof header)
        return;
    memcpy(&header, frame, sizeof header);
    /* Main reads as many bytes as the header claims, or fails. */
    if (plan_check_header(&header) < 0 || header.frame_bytes > bytes)
        return;
    size_t memory_bytes = plan_memory_bytes(&header);
    char *memory = malloc(memory_bytes);
    if (!memory)
        return;
    memcpy(memory, frame, header.frame_bytes);
    if (plan_decode(&plan, memory, memory_bytes, &why) == 0) {
        accepted++;
        for (unsigned stage = 0; stage < STAGE_COUNT; stage++)
            for (uint32_t i = 0; i < plan.step_count[stage]; i++) {
                const struct step *step = &plan.steps[stage][i];
                const char *signature = op_signature(step->op);
                for (unsigned k = 0; k < step->tolerate_count; k++)
                    sum += step->tolerate[k];
                for (size_t k = 0; signature[k]; k++)
                    sum += read_argument(signature[k], &step->args[k]);
            }
    }
    free(memory);
    __asm__ volatile("" : : "r"(sum));
}

static void mutate(char *frame, uint32_t bytes)
{
    static const uint32_t lengths[] = { 0, 1, 7, 8, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff };
    for (uint32_t changes = 1 + random_below(4); changes > 0; changes--) {
        uint32_t at = random_below(bytes), word = bytes < 8 ? 0 : random_below(bytes / 4 - 1) * 4;
        uint32_t value = lengths[random_below(sizeof lengths / sizeof *lengths)] + random_below(3) - 1;
        switch (random_below(4)) {
        case 0:
            frame[at] = (char)random_below(256);
            break;
        case 1:
            frame[at] ^= (char)(1 << random_below(8));
            break;
        case 2:
            memcpy(frame + word, &value, sizeof value);
            break;
        default:
            memmove(frame + word, frame + at / 8 * 8, random_below(bytes - (at > word ? at : word)));
        }
    }
}

static void fuzz_file(int fd, unsigned long count)
{
    static char original[1 << 20], frame[1 << 20];
    ssize_t got, bytes = 0;
    while ((got = read(fd, original + bytes, sizeof original - (size_t)bytes)) > 0)
        bytes += got;
    decode(original, (size_t)bytes);
    for (unsigned long i = 0; i < count && bytes >= 16; i++) {
        memcpy(frame, original, (size_t)bytes);
        mutate(frame, (uint32_t)bytes);
        decode(frame, (size_t)bytes);
    }
}

int main(int argc, char **argv)
{
    int first = argc > 3 && !strcmp(argv[1], "-n") ? 4 : 1;
    unsigned long count = first == 4 ? strtoul(argv[2], NULL, 10) : 0;
    state = first == 4 ? strtoul(argv[3], NULL, 10) | 1 : 1;
    if (first >= argc)
        fuzz_file(STDIN_FILENO, count);
    for (int i = first; i < argc; i++) {
        int fd = open(argv[i], O_RDONLY);
        if (fd < 0)
            return 2;
        fuzz_file(fd, count);
        close(fd);
    }
    printf("%lu accepted\n", accepted);
    return 0;
}

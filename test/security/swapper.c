/* swapper A B: exchanges two names in one directory tree for as long as it lives, as fast as it can (renameat2(2)). */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 3 || renameat2(AT_FDCWD, argv[1], AT_FDCWD, argv[2], RENAME_EXCHANGE) < 0) {
        perror("swapper");
        return 1;
    }
    /* Whoever starts us waits for this line: from here on the names move. */
    if (write(STDOUT_FILENO, "swapping\n", 9) != 9)
        return 1;
    for (;;)
        renameat2(AT_FDCWD, argv[1], AT_FDCWD, argv[2], RENAME_EXCHANGE);
}

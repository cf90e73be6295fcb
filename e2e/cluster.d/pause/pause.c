/* Holds a pod's namespaces open: waits for the signal to stop, and reaps children when the pod shares its processes. */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void stop(int signal) {
    (void)signal;
    _exit(0);
}

static void reap(int signal) {
    (void)signal;
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
}

int main(void) {
    struct sigaction stopping = {.sa_handler = stop};
    struct sigaction reaping = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP};

    /* The first process of a PID namespace ignores what it has no handler for, so TERM and INT need one. */
    if (sigaction(SIGTERM, &stopping, NULL) || sigaction(SIGINT, &stopping, NULL) || sigaction(SIGCHLD, &reaping, NULL))
        return EXIT_FAILURE;
    for (;;)
        pause();
}

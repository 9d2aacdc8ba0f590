#!/usr/bin/env python3
"""paste.py COMMAND...: pastes standard input into COMMAND, a shell, through a terminal.

A terminal gives a shell one line at a time. So what a shell becomes, or starts, reads the lines after it, as for someone
who types. What the shell says goes where this program's output goes.
"""
import os
import sys
import termios

master, slave = os.openpty()
mode = termios.tcgetattr(slave)
mode[3] &= ~termios.ECHO
termios.tcsetattr(slave, termios.TCSANOW, mode)
shell = os.fork()
if shell == 0:
    os.dup2(slave, 0)
    os.closerange(3, 1024)
    os.execvp(sys.argv[1], sys.argv[1:])
os.close(slave)
# At the end Ctrl-D: none waits for more.
text = sys.stdin.buffer.read() + b"\4"
while text:
    text = text[os.write(master, text):]
sys.exit(os.waitstatus_to_exitcode(os.waitpid(shell, 0)[1]) % 256)

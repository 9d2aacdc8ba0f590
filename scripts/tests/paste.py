#!/usr/bin/env python3
"""paste.py COMMAND...: pastes standard input into COMMAND, a shell, through a terminal.

A terminal gives a shell one line at a time. So what a shell becomes, or starts, reads the lines after it, as for someone
who types. What the shell says goes where this program's output goes.
"""
import os
import subprocess
import sys
import termios

master, slave = os.openpty()
mode = termios.tcgetattr(slave)
mode[3] &= ~termios.ECHO
termios.tcsetattr(slave, termios.TCSANOW, mode)
shell = subprocess.Popen(sys.argv[1:], stdin=slave)
os.close(slave)
# At the end Ctrl-D: none waits for more.
text = sys.stdin.buffer.read() + b"\4"
while text:
    text = text[os.write(master, text):]
sys.exit(shell.wait() % 256)

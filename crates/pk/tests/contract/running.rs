//! A tool that stays as PROG's parent, while it does: its signals, its state, its end.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

/// How long something that has to happen may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A tool with a PROG that is known to run. PROG ends with its standard input.
pub struct Running {
    pub tool: Child,
    lines: Receiver<String>,
    /// PROG's PID as it is seen from here.
    pub prog: String,
}

/// A shell script that first says its own PID: the /proc of the tests shows that of the tests.
pub fn telling_its_pid(script: &str) -> String {
    format!("read pid rest < /proc/self/stat; echo $pid; {script}")
}

impl Running {
    /// Starts a tool whose PROG begins by telling its PID, and waits for that.
    pub fn start(mut command: Command) -> Self {
        // A group of its own, as a shell gives a job: one that nobody could continue never stops.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut tool = command.spawn().unwrap();
        let stdout = BufReader::new(tool.stdout.take().unwrap());
        let (sender, lines) = channel();
        spawn(move || stdout.lines().try_for_each(|line| sender.send(line.ok()?).ok()));
        let prog = lines.recv_timeout(PATIENCE).unwrap();
        Self { tool, lines, prog }
    }

    /// Waits for PROG to say something.
    pub fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    /// Waits for PROG to say this.
    pub fn expect(&self, expected: &str) {
        assert_eq!(self.line(), expected);
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.tool), signal).unwrap();
    }

    pub fn signal_prog(&self, signal: Signal) {
        let pid = self.prog.parse().ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// The status, or minus the signal, with which the tool ends.
    pub fn status(&mut self) -> i32 {
        let mut ended = None;
        eventually("the tool ends", || {
            // Unlike wait, this leaves PROG's standard input open: it is to end of something else.
            ended = self.tool.try_wait().unwrap();
            ended.is_some()
        });
        let status = ended.unwrap();
        status.code().or(status.signal().map(|signal| -signal)).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.tool.kill();
        let _ = self.tool.wait();
    }
}

/// The letter of `proc_pid_stat(5)`, or nothing for a process that is gone.
pub fn state(pid: &str) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Looks again and again until it holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(5));
    }
}

pub fn is_gone(pid: &str) -> bool {
    // Whoever inherits an orphan may be slow to reap it.
    matches!(state(pid), None | Some('Z' | 'X'))
}

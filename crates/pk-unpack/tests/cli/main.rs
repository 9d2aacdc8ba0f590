//! Runs the binary and pins its status, what it says, and what it leaves.

mod documents;
mod faults;
mod formats;
mod hostile;
mod images;
mod interruptions;
mod kept;
mod layers;
mod limits;
mod refusals;
mod rootfs;
mod sharing;
mod stacks;
mod store;
mod store_stacks;
mod trees;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A directory to run in, which everyone may enter.
struct Place(TempDir);

/// How a run ended.
#[derive(Debug)]
struct Outcome {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Place {
    fn new() -> Self {
        Self::inside(&env::temp_dir())
    }

    /// On a tmpfs if there is one: many files on a disk take their time.
    fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::inside(memory) } else { Self::new() }
    }

    fn inside(above: &Path) -> Self {
        let directory = TempDir::new_in(above).unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        Self(directory)
    }

    fn with(image: &images::Parts) -> Self {
        let place = Self::new();
        place.write("image", &image.tar());
        place
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn read(&self, name: impl AsRef<Path>) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn names(&self, directory: &str) -> Vec<OsString> {
        let entries = fs::read_dir(self.path(directory)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pk-unpack"));
        command.args(arguments).current_dir(self.0.path()).env_clear();
        command
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        finish(&mut self.command(arguments), b"")
    }

    /// Runs and expects success, and nothing on standard error.
    fn unpack(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!((outcome.status, outcome.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        outcome.stdout
    }

    /// Runs and expects this status, this on standard error, and that nothing is left.
    fn refuse(&self, arguments: &[&str], status: i32, stderr: &str) {
        let before = self.names("");
        let outcome = self.run(arguments);
        assert_eq!((outcome.status, outcome.stderr.as_str()), (Some(status), stderr));
        assert_eq!((outcome.stdout.as_str(), self.names("")), ("", before), "{arguments:?}");
    }
}

fn finish(command: &mut Command, input: &[u8]) -> Outcome {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end without having read all.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    Outcome {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

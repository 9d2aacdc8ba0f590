//! What every tool of the chain promises, asked of the tool whose tests include this file: its
//! arguments and exit status, the world in which PROG wakes up, explaining and tracing.
//!
//! `contract::promises!(TOOL)` makes a test of each promise.

mod arguments;
mod steps;
mod world;

pub use arguments::*;
pub use steps::*;
pub use world::*;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// The tool under test.
pub struct Tool {
    pub name: &'static str,
    pub program: &'static str,
    /// Options without which it does nothing.
    pub options: &'static [&'static str],
    /// An option that takes a value, how help calls the value, and one that does no harm; empty
    /// strings where no option does.
    pub valued: [&'static str; 3],
    pub root: Root,
    /// It stays as PROG's parent; else it becomes PROG.
    pub waits: bool,
}

/// What the tool has to do with a ROOT.
#[derive(Clone, Copy, PartialEq)]
pub enum Root {
    /// It takes none.
    None,
    /// It puts something into ROOT, and runs a PROG of the host's.
    Prepared,
    /// It makes ROOT the root, and PROG is a path inside.
    Entered,
}

/// Defines a test for each promise.
macro_rules! promises {
    ($tool:expr) => {
        $crate::contract::promises!($tool;
            usage_errors_are_one_line, an_option_takes_its_value_in_two_ways, help_is_data,
            options_end_at_the_first_operand, a_prog_that_is_not_there_is_127,
            a_prog_that_cannot_run_is_126, the_status_is_that_of_prog,
            an_argument_arrives_byte_for_byte, variables_of_pk_go_no_further_than_pk,
            signals_are_as_they_were_found, descriptors_are_not_leaked, a_pipe_that_closes_ends_prog,
            explaining_does_nothing, explaining_needs_no_privilege, explaining_goes_through_a_chain,
            a_trace_shows_the_explained_calls, a_trace_is_json_on_a_descriptor_of_its_own,
            the_mode_is_checked);
    };
    ($tool:expr; $($promise:ident),*) => {
        $(#[test] fn $promise() { $crate::contract::$promise(&$tool); })*
    };
}
pub(crate) use promises;

/// The exit status, or minus the number of the signal that was the end; both outputs.
pub fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let status = output.status.code().or(output.status.signal().map(|signal| -signal));
    (status.unwrap(), text(&output.stdout), text(&output.stderr))
}

pub fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Copies a program. In a process of its own: a file that is open for writing cannot be executed,
/// and would be kept open by what another test's thread forks at that moment.
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> bool {
    run(Command::new("cp").arg("--preserve=mode").arg(from.as_ref()).arg(to.as_ref())).0 == 0
}

/// Says why a test cannot run here.
pub fn skip(reason: &str) {
    // Past the test harness, which would keep it to itself.
    let _ = std::io::stderr().write_all(format!("SKIP  {reason}\n").as_bytes());
}

/// A mount namespace of its own for what would not be harmless in the host's, made by a foreign link.
pub fn private_mounts() -> Command {
    let mut command = Command::new("unshare");
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "--propagation", "private"]);
    command
}

/// A directory with a ROOT in it, where a tool can be run.
pub struct Stage<'a> {
    pub tool: &'a Tool,
    directory: TempDir,
}

/// What a ROOT's busybox is asked for.
const APPLETS: [&str; 16] = [
    "cat", "chroot", "cut", "env", "grep", "id", "kill", "ls", "mkdir", "printf", "pwd", "sh",
    "sleep", "touch", "true", "yes",
];

impl<'a> Stage<'a> {
    /// Nothing, and a word why, where this machine cannot run the tool.
    pub fn set(tool: &'a Tool) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        // Other users have to reach it too.
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        let stage = Self { tool, directory };
        fs::create_dir(stage.root()).unwrap();
        if !private_mounts().arg("true").status().is_ok_and(|status| status.success()) {
            skip("unshare --mount is not allowed here");
            return None;
        }
        if tool.root == Root::Entered && !stage.fill_root() {
            skip("/bin/busybox is missing or not static");
            return None;
        }
        Some(stage)
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn root(&self) -> PathBuf {
        self.directory().join("root")
    }

    /// busybox under the names of its applets, behind a link that is absolute inside ROOT.
    fn fill_root(&self) -> bool {
        let root = self.root();
        for directory in ["usr/bin", "proc", "etc", "srv"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        symlink("/usr/bin", root.join("bin")).unwrap();
        if !copy("/bin/busybox", root.join("usr/bin/busybox")) {
            return false;
        }
        for applet in APPLETS {
            symlink("busybox", root.join("usr/bin").join(applet)).unwrap();
        }
        let mut chroot = private_mounts();
        chroot.arg("--root").arg(&root).args(["/usr/bin/busybox", "true"]);
        run(&mut chroot).0 == 0
    }

    /// Makes a file in ROOT, and tells the path by which PROG is to know it.
    pub fn file(&self, name: &str, text: &str, mode: u32) -> String {
        let text_file = self.directory().join("text");
        fs::write(&text_file, text).unwrap();
        fs::set_permissions(&text_file, fs::Permissions::from_mode(mode)).unwrap();
        // It may be a script.
        assert!(copy(text_file, self.root().join(name)));
        self.inside(name)
    }

    /// How PROG knows a path of ROOT.
    pub fn inside(&self, name: &str) -> String {
        match self.tool.root {
            Root::Entered => format!("/{name}"),
            _ => self.root().join(name).to_str().unwrap().to_owned(),
        }
    }

    /// The tool's command line without PROG: the options that it needs, then those given, then ROOT.
    pub fn line(&self, options: &[&str]) -> Vec<String> {
        let mut line: Vec<&str> = vec![self.tool.program];
        if self.tool.name == "pk-ns" && !is_root() {
            line.extend(["--user", "--map-root"]);
        }
        line.extend(self.tool.options.iter().chain(options));
        let root = self.root();
        if self.tool.root != Root::None {
            line.push(root.to_str().unwrap());
        }
        line.into_iter().map(str::to_owned).collect()
    }

    /// What goes before the tool: words that end in a program, which takes the rest.
    pub fn before(&self) -> Command {
        let mut command = Command::new("env");
        if self.tool.root != Root::None {
            let unshare = private_mounts();
            command.arg(unshare.get_program()).args(unshare.get_args());
        }
        if self.tool.root == Root::Entered {
            let script = "mount --rbind /proc \"$0/proc\" && exec \"$@\"";
            command.args(["sh", "-c", script]).arg(self.root());
        }
        command.current_dir(self.directory());
        command
    }

    /// The tool in a mount namespace of its own, where it needs one.
    pub fn command(&self, options: &[&str], prog: &[&str]) -> Command {
        let mut command = self.before();
        command.args(self.line(options)).args(prog);
        command
    }

    /// The tool as a shell's `"$@"`: `script` arranges what it finds and starts it.
    pub fn by_shell(&self, script: &str, options: &[&str], prog: &[&str]) -> Command {
        let inner = self.command(options, prog);
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(inner.get_program()).args(inner.get_args());
        command.current_dir(self.directory());
        command
    }
}

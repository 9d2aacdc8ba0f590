//! pk-show as a user meets it: its status, what it says, and that it only reads.

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_pk-show");

fn show(options: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(options);
    command
}

/// By a shell, in namespaces of its own, `$0` being pk-show.
fn inside(unshare: &[&str], script: &str) -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(unshare).args(["sh", "-ec", script, PROGRAM]);
    command
}

/// The exit status, or minus the number of the signal that was the end; both outputs.
fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let status = output.status.code().or(output.status.signal().map(|signal| -signal));
    (status.unwrap(), text(output.stdout), text(output.stderr))
}

/// What it prints where all is well.
fn output(command: &mut Command) -> String {
    let (status, stdout, stderr) = run(command);
    assert_eq!((status, stderr.as_str()), (0, ""), "{command:?}");
    stdout
}

fn state(command: &mut Command) -> Value {
    serde_json::from_str(&output(command)).unwrap()
}

fn place() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn usage() {
    let table: &[(&[&str], &str)] = &[
        (&["--nonsense"], "--nonsense: no such option\nhint: --help lists them"),
        (&["--pid"], "--pid: needs N"),
        (&["--pid", "x"], "--pid \"x\": invalid digit found in string"),
        (&["sh"], "\"sh\": takes no operands"),
        (&["--tree", "--pid", "1"], "--tree: goes with --json only"),
        (&["--assert", "pid"], "--assert \"pid\": \"pid\" is not NAME=VALUE"),
        (&["--assert", "pid=old"], "--assert \"pid=old\": pid is new or same, not \"old\""),
        (&["--assert", "nnp=yes"], "--assert \"nnp=yes\": nnp is 0 or 1, not \"yes\""),
        (&["--assert", "memory=1Q"], "--assert \"memory=1Q\": \"1Q\" is no size"),
        (
            &["--assert", "uid=0,color=red"],
            "--assert \"uid=0,color=red\": \"color\" is not one of the names that --help lists",
        ),
    ];
    for (options, complaint) in table {
        let expected = (2, String::new(), format!("pk-show: {complaint}\n"));
        assert_eq!(run(&mut show(options)), expected, "{options:?}");
    }
}

#[test]
fn help_is_data() {
    for option in ["--help", "-h"] {
        let text = output(&mut show(&[option]));
        assert!(text.starts_with("usage: pk-show [OPTION...]") && text.contains("--assert LIST"));
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
    let version = format!("pk-show {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(output(&mut show(&["--version"])), version);
}

#[test]
fn what_cannot_be_read_or_written_is_named() {
    let place = place();
    let file = |name: &str, text: &str| {
        fs::write(place.path().join(name), text).unwrap();
    };
    file("empty", "");
    file("other", "{}");
    let mut state = state(&mut show(&["--json"]));
    state["format"] = json!(2);
    file("newer", &state.to_string());
    let table: &[(&[&str], &str)] = &[
        (&["--pid", "4194305"], "open(\"/proc/4194305\"): no such process"),
        (&["--diff", "none"], "open(\"none\"): No such file or directory"),
        (&["--save", "none/x"], "open(\"none/x\"): No such file or directory"),
        (
            &["--diff", "empty"],
            "empty: is not what --save writes: EOF while parsing a value at line 1 column 0",
        ),
        (
            &["--diff", "other"],
            "other: is not what --save writes: missing field `format` at line 1 column 2",
        ),
        (&["--diff", "newer"], "newer: is of format 2, and this is 1"),
    ];
    for (options, complaint) in table {
        let expected = (1, String::new(), format!("pk-show: {complaint}\n"));
        assert_eq!(run(show(options).current_dir(&place)), expected, "{options:?}");
    }
}

#[test]
fn the_table_has_every_topic_and_no_colour_in_a_pipe() {
    let text = output(&mut show(&[]));
    let topics: Vec<&str> = text.lines().map(|line| line[..14].trim()).collect();
    let topics: Vec<&str> = topics.into_iter().filter(|topic| !topic.is_empty()).collect();
    let expected = [
        "process",
        "hostname",
        "namespace",
        "root",
        "directory",
        "mount",
        "user",
        "id map",
        "capabilities",
        "privileges",
        "cgroup",
        "device",
        "descriptor",
        "limit",
    ];
    assert_eq!(topics, expected);
    assert!(text.chars().all(|character| character == '\n' || !character.is_control()));
    assert!(text.lines().all(|line| line.trim_end() == line), "{text}");
}

#[test]
fn on_a_terminal_it_is_coloured_unless_that_is_not_wanted() {
    let on_terminal = |value: &str| {
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", PROGRAM, "/dev/null"]);
        run(command.env("NO_COLOR", value)).1
    };
    assert!(on_terminal("").contains("\u{1b}[1mprocess"));
    assert!(!on_terminal("1").contains("\u{1b}["));
}

#[test]
fn the_same_state_does_not_differ() {
    let place = place();
    let run = |options: &[&str]| output(show(options).current_dir(&place));
    assert_eq!(run(&["--save", "before"]), "");
    assert_eq!(run(&["--diff", "before"]), "");
    assert_eq!(run(&["--diff", "before", "--save", "before"]), "");
    let saved = fs::read_to_string(place.path().join("before")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&saved).unwrap()["format"], 1);
    let mut command = show(&["--diff", "-", "--json"]);
    command.current_dir(&place).stdin(File::open(place.path().join("before")).unwrap());
    let difference: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    assert_eq!(difference, json!({"changes": [], "unknown": {}}));
    // Neither a program's name and number nor what it reads and writes is isolation.
    let script = "cp \"$0\" other; ./other --diff before < /dev/null 2> err | cat";
    let mut shell = Command::new("sh");
    assert_eq!(output(shell.args(["-c", script, PROGRAM]).current_dir(&place)), "");
}

#[test]
fn what_differs_is_told_with_what_makes_it() {
    let place = place();
    output(show(&["--save", "before"]).current_dir(&place));
    let script = "hostname box; exec \"$0\" --diff before 7< /etc/passwd";
    let text = output(inside(&["--uts"], script).current_dir(&place));
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("hostname      ") && lines[0].ends_with(" -> box"), "{text}");
    assert_eq!(lines[1], "              by pk-ns --hostname  (docker: --hostname)");
    assert!(lines[2].starts_with("namespace     "), "{text}");
    assert!(text.contains("descriptor    + /etc/passwd\n"), "{text}");
    assert!(text.contains("by pk-ns --uts  (docker: always, but for --uts=host)"), "{text}");
}

#[test]
fn what_is_asserted_holds_or_is_told_line_by_line() {
    let uid = rustix::process::geteuid().as_raw();
    let list = format!("uid={uid},nnp=0,/proc=proc,core=unlimited");
    let limited = "ulimit -S -c 0; exec \"$0\" --assert \"$1\"";
    assert_eq!(run(&mut show(&["--assert", &format!("uid={uid},/proc=proc")])).0, 0);
    let outcome = run(Command::new("sh").args(["-c", limited, PROGRAM, &list]));
    let expected = "pk-show: --assert core=unlimited: it is 0\n";
    assert_eq!((outcome.0, outcome.2.as_str()), (1, expected));
    let wrong = "uid=77,/proc=proc+nonsense,/nowhere=tmpfs,seccomp=strict";
    let (status, stdout, stderr) = run(&mut show(&["--assert", wrong]));
    assert_eq!((status, stdout.as_str()), (1, ""));
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 4, "{stderr}");
    assert_eq!(lines[0], format!("pk-show: --assert uid=77: it is {uid}"));
    assert!(lines[1].starts_with("pk-show: --assert /proc=proc+nonsense: it is proc+rw"));
    assert_eq!(lines[2], "pk-show: --assert /nowhere=tmpfs: it is none");
}

#[test]
fn new_is_compared_with_what_was_saved() {
    let place = place();
    let script = "\"$0\" --save here
        \"$0\" --diff here --assert uts=same,ipc=same
        unshare --ipc \"$0\" --diff here --assert uts=same,ipc=new
        unshare --ipc \"$0\" --diff here --assert ipc=same";
    let (status, stdout, stderr) = run(inside(&["--uts", "--ipc"], script).current_dir(&place));
    let complaint = "pk-show: --assert ipc=same: it is a new one\n";
    assert_eq!((status, stdout.as_str(), stderr.as_str()), (1, "", complaint));
}

#[test]
fn text_from_outside_does_nothing_to_a_terminal() {
    let place = place();
    let script = "printf '\\033[31mbox' | python3 -c 'import socket, sys; socket.sethostname(sys.stdin.read())'
        point=$(printf 'a b\\\\\\n\\033]0;x\\007\\377')
        mkdir \"$point\"
        mount -t tmpfs -o size=4k \"$(printf 's\\tx')\" \"$point\"
        exec \"$0\"";
    let name = "a b\\\\\\n\\u{1b}]0;x\\u{7}\\xff";
    let mut command = inside(&["--uts", "--mount"], script);
    let text = output(command.current_dir(&place));
    assert!(text.chars().all(|character| character == '\n' || !character.is_control()), "{text}");
    assert!(text.contains("\\u{1b}[31mbox") && text.contains(name), "{text}");
    let script = format!("{script} --json");
    let fresh = tempfile::tempdir().unwrap();
    let state = state(inside(&["--uts", "--mount"], &script).current_dir(&fresh));
    let mounts = state["mounts"].as_array().unwrap();
    let mount = mounts.iter().find(|mount| mount["source"] == "s\\tx").unwrap();
    assert!(mount["point"].as_str().unwrap().ends_with(name), "{mount}");
    assert_eq!(state["hostname"], "\\u{1b}[31mbox");
}

#[test]
fn children_can_be_in_another_pid_namespace() {
    let text = output(&mut inside(&["--pid"], "exec \"$0\""));
    assert!(text.contains("children's pid  "), "{text}");
    assert!(!output(&mut show(&[])).contains("children's"));
}

#[test]
fn a_directory_that_was_entered_by_chroot_is_no_mount() {
    let place = place();
    fs::copy(PROGRAM, place.path().join("pk-show")).unwrap();
    let script = "PATH=$PATH:/usr/sbin; exec chroot . /pk-show --json";
    let state = state(inside(&["--mount"], script).current_dir(&place));
    assert_eq!(state["root"]["is_mount"], false);
    assert_eq!(state["directory"], "/");
    assert_eq!(state["id_maps"]["uid"], json!({"unknown": "no /proc"}));
    let script = "PATH=$PATH:/usr/sbin; exec chroot . /pk-show --assert root=mount";
    let (status, _, stderr) = run(inside(&["--mount"], script).current_dir(&place));
    assert_eq!((status, stderr.as_str()), (1, "pk-show: --assert root=mount: it is chroot\n"));
}

#[test]
fn a_proc_that_is_none_is_not_believed() {
    let script = "mount -t tmpfs none /proc; mkdir -p /proc/self/ns
        echo 'Uid: 7 7 7 7' > /proc/self/status
        echo '1 0 0:1 / /lie rw - tmpfs x rw' > /proc/self/mountinfo
        exec \"$0\" --json";
    let state = state(&mut inside(&["--mount"], script));
    assert_eq!(state["id_maps"]["uid"], json!({"unknown": "no /proc"}));
    assert_eq!(state["process"]["pids"], json!({"unknown": "no /proc"}));
    assert!(!state.to_string().contains("/lie"), "{state}");
    // What needs none is told all the same.
    assert_eq!(state["user"]["uid"]["effective"], 0);
    assert!(state["capabilities"]["effective"].as_array().unwrap().len() > 1);
    assert!(state["devices"].is_array() && state["hostname"].is_string());
}

#[test]
fn proc_of_another_pid_namespace_is_said_to_be_that() {
    let script = "unshare --pid --fork mount -t proc proc /proc; exec \"$0\" --json";
    let state = state(&mut inside(&["--mount"], script));
    let reason = json!({"unknown": "/proc is another PID namespace's"});
    assert_eq!(state["id_maps"]["uid"], reason);
}

/// A process that sleeps until it is dropped.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        // The kernel gives it its name last.
        let name = format!("/proc/{}/comm", child.id());
        while fs::read_to_string(&name).unwrap() != "sleep\n" {}
        Self(child)
    }

    fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn another_process_is_shown_as_it_is() {
    let sleeper = Sleeper::start();
    let pid = sleeper.0.id();
    let other = state(&mut show(&["--pid", &pid.to_string(), "--json"]));
    let own = state(&mut show(&["--json"]));
    assert_eq!(
        (&other["process"]["name"], &other["process"]["pid"]),
        (&json!("sleep"), &json!(pid))
    );
    for section in ["namespaces", "hostname", "root", "mounts", "user", "capabilities", "limits"] {
        assert_eq!(other[section], own[section], "{section}");
    }
}

#[test]
fn a_process_that_ends_meanwhile_is_noticed() {
    let mut sleeper = Sleeper::start();
    let pid = sleeper.0.id();
    // The trace of its first step goes into a pipe that is full, so that it stops there.
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let room = fcntl_setpipe_size(&writer, 4096).unwrap();
    let (mut reader, mut full) = (File::from(reader), File::from(writer));
    full.write_all(&vec![b'x'; room]).unwrap();
    let mut command = show(&["--pid", &pid.to_string(), "--trace"]);
    let mut tool =
        command.stdout(Stdio::piped()).stderr(full.try_clone().unwrap()).spawn().unwrap();
    drop((command, full));
    let begin = Instant::now();
    let is_stopped = |tool: u32| {
        let links = fs::read_dir(format!("/proc/{tool}/fd")).unwrap();
        let links = links.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let has_it = links.into_iter().any(|link| link.ends_with(pid.to_string()));
        let stat = fs::read_to_string(format!("/proc/{tool}/stat")).unwrap();
        has_it && stat.rsplit_once(") ").unwrap().1.starts_with('S')
    };
    while !is_stopped(tool.id()) {
        assert!(begin.elapsed() < Duration::from_secs(20), "it does not stop");
        sleep(Duration::from_millis(5));
    }
    sleeper.end();
    let mut stderr = Vec::new();
    reader.read_to_end(&mut stderr).unwrap();
    assert_eq!(tool.wait().unwrap().code(), Some(1));
    let complaint = format!("pk-show: read(/proc/{pid}/status): the process has ended\n");
    let stderr = String::from_utf8(stderr.split_off(room)).unwrap();
    assert!(stderr.ends_with(&complaint), "{stderr}");
    let mut stdout = String::new();
    tool.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    assert_eq!(stdout, "", "nothing is shown of what is not whole");
}

#[test]
fn explaining_does_nothing() {
    let place = place();
    let options = ["--save", "state", "--diff", "-", "--explain"];
    // FILE of --diff is checked first, as every operand is.
    assert_eq!(run(show(&options).current_dir(&place)).0, 1);
    let by_option = output(show(&["--save", "state", "--explain"]).current_dir(&place));
    let by_variable = output(show(&["--save", "state"]).current_dir(&place).env("PK_EXPLAIN", "1"));
    assert_eq!(by_option, by_variable);
    assert!(by_option.starts_with("pk-show\n") && by_option.contains("prctl(PR_GET_NO_NEW_PRIVS"));
    assert!(!place.path().join("state").exists());
}

#[test]
fn a_reader_that_goes_away_ends_it() {
    for (disposition, expected) in
        [("--default-signal=PIPE", None), ("--ignore-signal=PIPE", Some(1))]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new("env");
        let status =
            command.args([disposition, PROGRAM]).stdout(writer).stderr(Stdio::null()).status();
        assert_eq!(status.unwrap().code(), expected, "{disposition}");
    }
}

#[test]
fn the_tree_has_this_process_in_the_innermost_box() {
    let script =
        "mount -t proc proc /proc; sleep 60 & \"$0\" --tree; \"$0\" --tree --json > tree; kill $!";
    let place = place();
    let options = ["--mount", "--pid", "--fork", "--uts"];
    let drawn = output(inside(&options, script).current_dir(&place));
    let widths: Vec<usize> = drawn.lines().map(|line| line.chars().count()).collect();
    assert!(widths.iter().all(|&width| width == 100), "{drawn}");
    assert!(drawn.starts_with("┌ what is seen from here: "), "{drawn}");
    let tree = fs::read(place.path().join("tree")).unwrap();
    let tree: Value = serde_json::from_slice(&tree).unwrap();
    assert_eq!(tree["machine"]["processes"][0], json!({"pid": 1, "inside": 1, "name": "sh"}));
    assert_eq!((&tree["kernel_threads"], &tree["hidden"]), (&json!(0), &json!(0)));
}

//! Arguments and exit status.

use super::{Root, Stage, Tool, run};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

pub fn usage_errors_are_one_line(tool: &Tool) {
    let name = tool.name;
    let [valued, value_name, value] = tool.valued;
    let lists = "hint: --help lists them\n";
    let operands = "hint: --help shows the operands\n";
    let none: [&str; 0] = [];
    let first = if tool.root == Root::None { "PROG" } else { "ROOT" };
    let table: &[(&[&str], String)] = &[
        (&["--nonsense", "true"], format!("{name}: --nonsense: no such option\n{lists}")),
        (&["--nonsense=1", "true"], format!("{name}: --nonsense: no such option\n{lists}")),
        (&["-x", "true"], format!("{name}: -x: no such option\n{lists}")),
        (&["--trace=1", "true"], format!("{name}: --trace: no such option\n{lists}")),
        (&none, format!("{name}: {first}: missing operand\n{operands}")),
        (&["--"], format!("{name}: {first}: missing operand\n{operands}")),
        (&[valued], format!("{name}: {valued}: needs {value_name}\n")),
        (&[valued, value], format!("{name}: {first}: missing operand\n{operands}")),
    ];
    let without_value = if valued.is_empty() { &table[..table.len() - 2] } else { table };
    for (line, stderr) in without_value {
        let outcome = run(Command::new(tool.program).args(tool.options).args(*line));
        assert_eq!(outcome, (125, String::new(), stderr.clone()), "{line:?}");
    }
    let Some(stage) = Stage::set(tool) else { return };
    let outcome = run(&mut stage.command(&[], &[]));
    let stderr = format!("{name}: PROG: missing operand\n{operands}");
    assert_eq!(outcome, (125, String::new(), stderr));
}

pub fn an_option_takes_its_value_in_two_ways(tool: &Tool) {
    let Some(stage) = Stage::set(tool) else { return };
    let [option, _, value] = tool.valued;
    if option.is_empty() {
        return;
    }
    for options in [&[option, value][..], &[&format!("{option}={value}")]] {
        let outcome = run(&mut stage.command(options, &["true"]));
        assert_eq!(outcome, (0, String::new(), String::new()), "{options:?}");
    }
}

pub fn help_is_data(tool: &Tool) {
    let usage = format!("usage: {} [OPTION...] ", tool.name);
    for option in ["--help", "-h"] {
        let (status, stdout, stderr) = run(Command::new(tool.program).arg(option));
        assert_eq!((status, stderr.as_str()), (0, ""), "{option}");
        assert!(stdout.starts_with(&usage) && stdout.contains(tool.valued[0]), "{stdout}");
        let lines_fit = |line: &str| line.trim_end() == line && line.chars().count() <= 100;
        assert!(stdout.lines().all(lines_fit), "{stdout}");
    }
    for option in ["--version", "-V"] {
        let version = format!("{} {}\n", tool.name, env!("CARGO_PKG_VERSION"));
        let outcome = run(Command::new(tool.program).arg(option));
        assert_eq!(outcome, (0, version, String::new()));
    }
    for disposition in ["--default-signal=PIPE", "--ignore-signal=PIPE"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new("env");
        command.args([disposition, tool.program, "--help"]).stdout(writer).stderr(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{disposition}");
        assert_eq!(output.status.code(), Some(0), "{disposition}");
    }
}

pub fn options_end_at_the_first_operand(tool: &Tool) {
    let Some(stage) = Stage::set(tool) else { return };
    let prog = ["sh", "-c", "echo $0 $1 $2", "--help", "--explain", "--"];
    let stdout = "--help --explain --\n";
    for options in [&[][..], &["--"]] {
        let outcome = run(&mut stage.command(options, &prog));
        assert_eq!(outcome, (0, stdout.to_owned(), String::new()), "{options:?}");
    }
}

pub fn a_prog_that_is_not_there_is_127(tool: &Tool) {
    let Some(stage) = Stage::set(tool) else { return };
    let (name, path) = (tool.name, std::env::var("PATH").unwrap());
    let reason = "No such file or directory";
    let place = if tool.root == Root::Entered { " inside the new root" } else { "" };
    let hint = format!("hint: looked in PATH={path}{place}");
    let table = [
        ("pk-no-such", format!("{name}: execve(\"pk-no-such\"): {reason}\n{hint}\n")),
        ("/pk/no-such", format!("{name}: execve(\"/pk/no-such\"): {reason}\n")),
    ];
    for (prog, stderr) in table {
        let outcome = run(&mut stage.command(&[], &[prog]));
        assert_eq!(outcome, (127, String::new(), stderr), "{prog}");
    }
}

pub fn a_prog_that_cannot_run_is_126(tool: &Tool) {
    let Some(stage) = Stage::set(tool) else { return };
    let text = stage.file("text", "echo x\n", 0o644);
    let script = stage.file("script", "#!/pk/no-such -e\n", 0o755);
    let bare = stage.file("bare", "echo x\n", 0o755);
    let missing = format!("hint: {script:?} is there; its interpreter \"/pk/no-such\" is not\n");
    let headless =
        format!("hint: {bare:?} has no #! line; name its interpreter, as in: sh {bare}\n");
    let table = [
        ("/", "Is a directory", ""),
        (&text, "Permission denied", ""),
        (&script, "No such file or directory", &missing),
        (&bare, "Exec format error", &headless),
    ];
    for (prog, reason, hint) in table {
        let outcome = run(&mut stage.command(&[], &[prog]));
        let stderr = format!("{}: execve({prog:?}): {reason}\n{hint}", tool.name);
        assert_eq!(outcome, (126, String::new(), stderr), "{prog}");
    }
    let good = stage.file("good", "#!/bin/sh\necho x\n", 0o755);
    assert_eq!(run(&mut stage.command(&[], &[&good])), (0, "x\n".to_owned(), String::new()));
}

pub fn the_status_is_that_of_prog(tool: &Tool) {
    let Some(stage) = Stage::set(tool) else { return };
    let death = |signal: i32| if tool.waits { 128 + signal } else { -signal };
    let table = [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 42", 42),
        ("exit 255", 255),
        ("kill -KILL $$", death(9)),
        ("kill -TERM $$", death(15)),
    ];
    for (script, status) in table {
        let outcome = run(&mut stage.command(&[], &["sh", "-c", script]));
        assert_eq!(outcome, (status, String::new(), String::new()), "{script}");
    }
}

pub fn an_argument_arrives_byte_for_byte(tool: &Tool) {
    let Some(stage) = Stage::set(tool) else { return };
    let bytes = b"\xff\xfe caf\xe9 \n\\";
    let mut command = stage.command(&[], &["printf", "%s"]);
    let output = command.arg(OsStr::from_bytes(bytes)).output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &bytes[..]));
}

//! Explaining and tracing.

use super::{Root, Stage, Tool, is_root, run, skip};
use serde_json::Value;
use std::fs;
use std::process::Command;

/// The calls of an explanation: the lines that begin with a number.
fn calls(explanation: &str) -> Vec<String> {
    let call = |line: &str| {
        let (number, call) = line.trim_start().split_once("  ")?;
        number.parse::<u32>().ok().map(|_| call.to_owned())
    };
    explanation.lines().filter_map(call).collect()
}

pub fn explaining_does_nothing(tool: &Tool) {
    let Some(stage) = Stage::set(tool) else { return };
    let touched = stage.root().join("touched");
    let prog = ["touch", &stage.inside("touched")];
    let by_option = run(&mut stage.command(&["--explain"], &prog));
    let by_variable = run(stage.command(&[], &prog).env("PK_EXPLAIN", "1"));
    assert_eq!(by_option, by_variable);
    let (status, stdout, stderr) = by_option;
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert_eq!(stdout.lines().next(), Some(tool.name));
    let calls = calls(&stdout);
    assert!(calls.len() >= 2 || tool.root == Root::Prepared, "{stdout}");
    assert!(calls.last().unwrap().starts_with("execve("), "{stdout}");
    let lines = |mark: &str| stdout.lines().filter(|line| line.starts_with(mark)).count();
    assert_eq!([lines("     $ "), lines("     # ")], [calls.len(); 2], "{stdout}");
    assert!(!touched.exists());
    assert_eq!(run(stage.command(&[], &prog).env("PK_EXPLAIN", "0")).0, 0);
    assert!(touched.exists());
}

pub fn explaining_needs_no_privilege(tool: &Tool) {
    let Some(stage) = Stage::set(tool) else { return };
    // Where it was built, others may not go.
    let program = stage.directory().join(tool.name);
    assert!(super::copy(tool.program, &program));
    let drop = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let line = &stage.line(&[])[1..];
    let mut command = Command::new("env");
    command.args(drop.iter().filter(|_| is_root())).arg(&program).args(line);
    command.arg(&program).args(line).arg("true").current_dir("/");
    let (status, stdout, stderr) = run(command.env("PK_EXPLAIN", "1"));
    if is_root() && stderr.starts_with("setpriv: failed to execute") {
        return skip("the temporary directory is closed to other users");
    }
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert_eq!(stdout.lines().filter(|&line| line == tool.name).count(), 2, "{stdout}");
}

pub fn explaining_goes_through_a_chain(tool: &Tool) {
    let Some(stage) = Stage::set(tool) else { return };
    let touched = stage.root().join("touched");
    let mut prog = stage.line(&[]);
    prog.extend(["touch".to_owned(), stage.inside("touched")]);
    let prog: Vec<&str> = prog.iter().map(String::as_str).collect();
    for mut command in [
        stage.command(&["--explain"], &prog),
        stage.by_shell("PK_EXPLAIN=1 exec \"$@\"", &[], &prog),
    ] {
        let (status, stdout, stderr) = run(&mut command);
        assert_eq!((status, stderr.as_str()), (0, ""));
        assert_eq!(stdout.lines().filter(|&line| line == tool.name).count(), 2, "{stdout}");
        let programs = calls(&stdout).iter().filter(|call| call.starts_with("execve(")).count();
        assert_eq!(programs, 1, "only the chain's end is not a link: {stdout}");
        assert!(!touched.exists());
    }
}

pub fn a_trace_shows_the_explained_calls(tool: &Tool) {
    let Some(stage) = Stage::set(tool) else { return };
    let explained = calls(&run(&mut stage.command(&["--explain"], &["true"])).1);
    for (options, value) in [(&["--trace"][..], "0"), (&[], "1")] {
        let (status, stdout, stderr) =
            run(stage.command(options, &["true"]).env("PK_TRACE", value));
        assert_eq!((status, stdout.as_str()), (0, ""));
        let traced: Vec<&str> = stderr
            .lines()
            .map(|line| {
                line.strip_prefix(tool.name).and_then(|line| line.strip_prefix(":")).unwrap()
            })
            .map(|line| line.rsplit_once(" = 0 <").map_or(line, |(call, _)| call).trim())
            .collect();
        assert_eq!(traced, explained);
        let timed = stderr.lines().filter(|line| line.ends_with('>')).count();
        assert_eq!(timed, explained.len() - 1, "all but the last return: {stderr}");
    }
}

pub fn a_trace_is_json_on_a_descriptor_of_its_own(tool: &Tool) {
    let Some(stage) = Stage::set(tool) else { return };
    let is_open = ["sh", "-c", "if (: >&3) 2>&-; then echo open; else echo closed; fi"];
    let explained = calls(&run(&mut stage.command(&["--explain"], &is_open)).1);
    let script = "exec 3> trace; exec \"$@\"";
    let mut command = stage.by_shell(script, &[], &is_open);
    let outcome = run(command.env("PK_TRACE", "json").env("PK_TRACE_FD", "3"));
    assert_eq!(outcome, (0, "closed\n".to_owned(), String::new()));
    let text = fs::read_to_string(stage.directory().join("trace")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let traced: Vec<&str> = lines.iter().map(|line| line["call"].as_str().unwrap()).collect();
    assert_eq!(traced, explained);
    let chain = lines[0]["chain"].as_str().unwrap();
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(line["tool"], tool.name);
        assert_eq!((line["chain"].as_str(), line["link"].as_u64()), (Some(chain), Some(1)));
        assert_eq!(line["step"], number + 1);
        assert!(line["pid"].is_u64() && line["shell"].is_string() && line["why"].is_string());
        let last = number + 1 == lines.len();
        assert_eq!((line["result"] == "0", line["seconds"].is_f64()), (!last, !last), "{line}");
    }
}

pub fn the_mode_is_checked(tool: &Tool) {
    let table: &[(&[(&str, &str)], &str)] = &[
        (&[("PK_EXPLAIN", "yes")], "PK_EXPLAIN=yes: is 0 or 1\n"),
        (&[("PK_TRACE", "all")], "PK_TRACE=all: is 0 or 1\n"),
        (&[("PK_TRACE", "1"), ("PK_TRACE_FD", "77")], "PK_TRACE_FD=77: is no open descriptor\n"),
        (&[("PK_TRACE", "1"), ("PK_TRACE_FD", "x")], "PK_TRACE_FD=x: is no open descriptor\n"),
        (&[("PK_STEP", "2")], "PK_STEP=2: is 0, 1 or names of tools, as in pk-ns,pk-mounts\n"),
    ];
    let Some(stage) = Stage::set(tool) else { return };
    for (variables, complaint) in table {
        let outcome = run(stage.command(&[], &["true"]).envs(variables.iter().copied()));
        assert_eq!(outcome, (125, String::new(), format!("{}: {complaint}", tool.name)));
    }
    let none = run(stage.command(&[], &["true"]).env("PK_TRACE_FD", "77").env("PK_STEP", "0"));
    assert_eq!(none, (0, String::new(), String::new()), "without a trace it needs no descriptor");
    // In a session of its own there is no terminal, and then no waiting for what is typed on one.
    let mut alone = Command::new("setsid");
    alone.args(["--wait", tool.program]).args(&stage.line(&[])[1..]).arg("true");
    let outcome = run(alone.current_dir(stage.directory()).env("PK_STEP", "1"));
    let complaint = "PK_STEP: there is no terminal to stop at\n\
        hint: script --quiet --command COMMAND /dev/null gives one; PK_TRACE=1 needs none\n";
    assert_eq!(outcome, (125, String::new(), format!("{}: {complaint}", tool.name)));
}

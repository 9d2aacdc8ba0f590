//! PROG's environment, and what an image's config says of its start.

use crate::contract::{Stage, run};
use crate::{TOOL, complaint, output};
use std::fs;

fn names(environment: &str) -> Vec<&str> {
    let mut names: Vec<&str> =
        environment.lines().map(|line| line.split_once('=').unwrap().0).collect();
    names.sort_unstable();
    names
}

fn value<'a>(environment: &'a str, name: &str) -> Option<&'a str> {
    environment.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

#[test]
fn variables_are_passed_on_set_or_dropped() {
    let Some(stage) = Stage::set(&TOOL) else { return };
    let environment = |options: &[&str]| {
        let mut command = stage.command(options, &["env"]);
        let (status, stdout, stderr) = run(command.env("OURS", "1").env("TERM", "dumb"));
        assert_eq!((status, stderr.as_str()), (0, ""), "{options:?}");
        stdout
    };
    let table: &[(&[&str], &str, Option<&str>)] = &[
        (&[], "OURS", Some("1")),
        (&["--env", "OURS=2"], "OURS", Some("2")),
        (&["--env", "OURS=a=b"], "OURS", Some("a=b")),
        (&["-e", "NEW=x"], "NEW", Some("x")),
        (&["-e", "NEW="], "NEW", Some("")),
        (&["-e", "PK_TEST_NEVER_SET"], "PK_TEST_NEVER_SET", None),
        (&["--clear-env"], "OURS", None),
        (&["--clear-env", "--env", "OURS"], "OURS", Some("1")),
        (&["--clear-env", "--env=OURS=2", "--env=OURS=3"], "OURS", Some("3")),
    ];
    for (options, name, expected) in table {
        assert_eq!(value(&environment(options), name), *expected, "{options:?}");
    }
    let cleared = environment(&["--clear-env"]);
    assert_eq!(names(&cleared), ["HOME", "HOSTNAME", "PATH"], "standard input is no terminal");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(value(&cleared, "HOSTNAME"), Some(host.trim()));
    assert_eq!(complaint(&stage, &["--env", "=x"], &["true"]), "--env \"=x\": the name is empty\n");
}

const CONFIG: &str = r#"{"config": {
    "Env": ["PATH=/bin", "FROM=image"], "WorkingDir": "/srv", "User": "0:0",
    "Entrypoint": ["sh", "-c"], "Cmd": ["echo entry; pwd; env"]}}"#;

#[test]
fn a_config_says_what_to_run_and_where() {
    let Some(stage) = Stage::set(&TOOL) else { return };
    let path = stage.directory().join("config.json");
    fs::write(&path, CONFIG).unwrap();
    let config = ["--config", path.to_str().unwrap()];
    let own = output(&stage, &config, &[]);
    let (entry, environment) = own.split_once("/srv\n").unwrap();
    assert_eq!(entry, "entry\n");
    assert_eq!(value(environment, "FROM"), Some("image"));
    assert_eq!(value(environment, "PATH"), Some("/bin"));

    let given = output(&stage, &config, &["env"]);
    assert_eq!(names(&given), ["FROM", "HOME", "HOSTNAME", "PATH"], "PROG replaces both");
    let options = [&config[..], &["--env", "FROM=option", "--workdir", "/etc"]].concat();
    let options = output(&stage, &options, &["sh", "-c", "pwd; echo $FROM"]);
    assert_eq!(options, "/etc\noption\n", "options go before the config");
}

#[test]
fn what_is_no_config_is_refused() {
    let Some(stage) = Stage::set(&TOOL) else { return };
    let path = stage.directory().join("config.json");
    let option = ["--config", path.to_str().unwrap()];
    let missing = complaint(&stage, &option, &["true"]);
    assert_eq!(missing, format!("open({path:?}): No such file or directory\n"));
    let table = [
        ("[]", "is no image config: \"config\" is not an object"),
        (r#"{"config": {"Env": "A=b"}}"#, "is no image config: \"Env\" is not a list of strings"),
        (r#"{"config": {"User": 0}}"#, "is no image config: \"User\" is not a string"),
        ("{", "EOF while parsing an object at line 1 column 1"),
    ];
    for (text, reason) in table {
        fs::write(&path, text).unwrap();
        assert_eq!(complaint(&stage, &option, &["true"]), format!("--config {path:?}: {reason}\n"));
    }
    fs::write(&path, "{}").unwrap();
    let nothing = complaint(&stage, &option, &[]);
    assert_eq!(nothing, "PROG: missing operand\nhint: --help shows the operands\n");
    assert_eq!(output(&stage, &option, &["pwd"]), "/\n");
}

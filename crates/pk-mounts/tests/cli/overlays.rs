//! Layers on ROOT: `--overlay`, `--upper` and `--work`.

use crate::contract::{Stage, run, skip};
use crate::mounts::check;
use crate::{set_stage, shell};
use std::fs;
use std::process::Command;

#[test]
fn layers_are_put_over_each_other() {
    let both = "cat $0/both $0/one; touch $0/x 2>&1 | grep -o Read-only; ls $0";
    let change = "echo new > $0/one; rm $0/both; ls upper; cat upper/one bottom/one bottom/both";
    check(&[
        (&["--overlay", "top:bottom"], both, "top\none\nRead-only\nboth\none\n"),
        (
            &["--overlay=bottom", "--upper=upper", "--work=work"],
            change,
            "both\none\nnew\none\nbottom\n",
        ),
        (
            &["--overlay=top:bottom", "--upper=upper", "--work=work", "--tmp"],
            "cat $0/both; stat -fc %T $0/tmp; ls upper",
            "top\ntmpfs\ntmp\n",
        ),
    ]);
}

/// Makes a layer with a file of its own and one that all of them have; its path as an operand.
fn layer(stage: &Stage, name: &str, number: usize) -> String {
    let path = stage.directory().join(name);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join(format!("own-{number}")), "").unwrap();
    fs::write(path.join("all"), format!("{number}\n")).unwrap();
    name.replace('\\', r"\\").replace(':', r"\:")
}

const SHOW: &str = "ls $0 | wc -l; cat $0/all";

#[test]
fn a_hundred_layers_are_more_than_a_page_of_options() {
    let Some(stage) = set_stage() else { return };
    let long = "x".repeat(200);
    let layers: Vec<String> =
        (0..100).map(|number| layer(&stage, &format!("{number}-{long}"), number)).collect();
    let lower = layers.join(":");
    assert!(lower.len() > 4096);
    let outcome = shell(&stage, "", &["--overlay", &lower], SHOW);
    assert_eq!(outcome, (0, "101\n0\n".to_owned(), String::new()));
    let change = format!("{SHOW}; echo new > $0/all; cat upper/all");
    let options = ["--overlay", &lower, "--upper", "upper", "--work", "work"];
    assert_eq!(
        shell(&stage, "", &options, &change),
        (0, "101\n0\nnew\n".to_owned(), String::new())
    );
}

#[test]
fn separators_may_be_in_names() {
    let Some(stage) = set_stage() else { return };
    let names = ["a:b", "a,b", r"a\b", r"\:,", "ends,", "lowerdir=x", "plain"];
    let layers: Vec<String> =
        names.iter().enumerate().map(|(number, name)| layer(&stage, name, number)).collect();
    for directory in ["up:p,er", r"w,or\k"] {
        fs::create_dir(stage.directory().join(directory)).unwrap();
    }
    let lower = layers.join(":");
    let options = ["--overlay", &lower, "--upper", "up:p,er", "--work", r"w,or\k"];
    let outcome = shell(&stage, "", &options, &format!("{SHOW}; touch $0/x; ls up:p,er"));
    assert_eq!(outcome, (0, "8\n0\nx\n".to_owned(), String::new()));
}

/// What a kernel before 6.13 answers is put into the system calls by strace.
#[test]
fn older_kernels_are_given_options() {
    if Command::new("strace").arg("-V").output().is_err() {
        return skip("strace is missing");
    }
    let Some(stage) = set_stage() else { return };
    let odd: Vec<String> = ["a:b", "a,b", r"a\b"]
        .iter()
        .enumerate()
        .map(|(number, name)| layer(&stage, name, number))
        .collect();
    let long = "x".repeat(200);
    let many: Vec<String> =
        (0..100).map(|number| layer(&stage, &format!("{number}-{long}"), number)).collect();
    for (layers, expected) in [(odd, "4\n0\n"), (many, "101\n0\n")] {
        let root = stage.root();
        let mut command = stage.before();
        // The first names the source, the second the first layer.
        command.args(["strace", "-o", "calls", "-e", "trace=fsconfig,mount"]);
        command.args(["-e", "inject=fsconfig:error=EINVAL:when=2"]);
        command.args(stage.line(&["--overlay", &layers.join(":")]));
        let outcome = run(command.args(["sh", "-c", SHOW]).arg(&root));
        assert_eq!(outcome, (0, expected.to_owned(), String::new()));
        let calls = fs::read_to_string(stage.directory().join("calls")).unwrap();
        assert!(calls.contains("INJECTED") && calls.contains("mount(\"overlay\""), "{calls}");
    }
}

//! Whom PROG runs as: names are ROOT's, not the host's.

use crate::contract::{Stage, is_root, skip};
use crate::{TOOL, complaint, output};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/srv:/bin/sh\n";
const GROUP: &str = "root:x:0:\ntty:x:5:app\nvideo:x:44:app,other\nother:x:77:\n";
const SHOW: [&str; 3] = ["sh", "-c", "echo $(id -u) $(id -g) $(id -G) $HOME"];

fn set_stage() -> Option<Stage<'static>> {
    if !is_root() {
        skip("becoming another user needs root");
        return None;
    }
    let stage = Stage::set(&TOOL)?;
    stage.file("etc/passwd", PASSWD, 0o644);
    stage.file("etc/group", GROUP, 0o644);
    Some(stage)
}

#[test]
fn users_are_those_of_root() {
    let Some(stage) = set_stage() else { return };
    let table = [
        ("app", "1000 1001 1001 5 44 /srv\n"),
        ("1000", "1000 1001 1001 5 44 /srv\n"),
        ("app:other", "1000 77 77 /srv\n"),
        ("app:5", "1000 5 5 /srv\n"),
        ("4242", "4242 0 0 /\n"),
        ("4242:4243", "4242 4243 4243 /\n"),
        ("root", "0 0 0 /root\n"),
    ];
    for (user, expected) in table {
        assert_eq!(output(&stage, &["--user", user], &SHOW), expected, "{user}");
        assert_eq!(output(&stage, &["--chroot", "-u", user], &SHOW), expected, "{user}");
    }
}

#[test]
fn who_is_not_there_is_refused() {
    let Some(stage) = set_stage() else { return };
    let table = [
        // The host has one.
        ("daemon", "--user \"daemon\": no such user in ROOT's /etc/passwd\n"),
        ("app:daemon", "--user \"app:daemon\": no such group in ROOT's /etc/group\n"),
        ("", "--user \"\": no such user in ROOT's /etc/passwd\n"),
        ("-1", "--user \"-1\": no such user in ROOT's /etc/passwd\n"),
    ];
    for (user, expected) in table {
        assert_eq!(complaint(&stage, &["--user", user], &["true"]), expected);
    }
}

//! Paths of the host in ROOT: `--bind` and its options.

use crate::contract::{private_mounts, run};
use crate::mounts::check;
use crate::{TOOL, set_stage, shell};
use std::process::Command;

#[test]
fn paths_of_the_host_are_bound() {
    check(&[
        (&["--bind", "data/file:/etc/file"], "cat $0/etc/file", "bound\n"),
        (&["--bind=data:/d"], "cat $0/d/file; echo new > $0/d/new; cat data/new", "bound\nnew\n"),
        (
            &["--bind", "data:/d:ro"],
            "cat $0/d/file; touch $0/d/x 2>&1 | grep -o Read-only",
            "bound\nRead-only\n",
        ),
    ]);
    let Some(stage) = set_stage() else { return };
    let submount = "mount -t tmpfs submount data/sub";
    let write = "touch $0/d/sub/x 2>/dev/null && echo written; touch data/sub/y && ls data/sub";
    for (bind, expected) in [("data:/d", "written\nx\ny\n"), ("data:/d:ro", "y\n")] {
        let outcome = shell(&stage, submount, &["--bind", bind], write);
        assert_eq!(outcome, (0, expected.to_owned(), String::new()), "{bind}");
    }
    let below = run(Command::new("stat").args(["-fc", "%T"]).arg(stage.directory())).1;
    for (bind, expected) in [("data:/d", "proc\n"), ("data:/d:norec", &below)] {
        let submount = "mount -t proc proc data/sub";
        let outcome = shell(&stage, submount, &["--bind", bind], "stat -fc %T $0/d/sub");
        assert_eq!(outcome, (0, expected.to_owned(), String::new()), "{bind}");
    }
}

/// Each of these, and what a program can still do: execute, be another user by doing so, use a device.
#[test]
fn a_bind_takes_away_what_is_asked_for() {
    let prepare =
        "cp /bin/sh data/sh; cp /bin/sh data/sub/sh; mknod data/null c 1 3; chmod 4755 data/sh";
    let try_all = "$0/d/sh -c 'echo runs'; $0/d/sub/sh -c 'echo runs below'; \
        echo > $0/d/null && echo device; findmnt -rno OPTIONS $0/d | tr , '\\n' | grep ^no | sort | paste -sd' '";
    let table = [
        ("data:/d", "runs\nruns below\ndevice\n\n"),
        ("data:/d:noexec", "device\nnoexec\n"),
        ("data:/d:nodev", "runs\nruns below\nnodev\n"),
        ("data:/d:nosuid", "runs\nruns below\ndevice\nnosuid\n"),
        ("data:/d:noexec,nosuid,nodev", "nodev noexec nosuid\n"),
    ];
    for (bind, expected) in table {
        let Some(stage) = set_stage() else { return };
        let script = format!("({try_all}) 2> /dev/null");
        let outcome = shell(&stage, prepare, &["--bind", bind], &script);
        // A file system that has such a flag itself, as /tmp may, cannot be told apart.
        assert_eq!((outcome.0, outcome.1.as_str()), (0, expected), "{bind}: {}", outcome.2);
    }
}

#[test]
fn files_of_a_bind_belong_to_whom_the_map_says() {
    let owners = "chown 5:6 data/file; chown 0:0 data/sub";
    let show =
        "stat -c %u:%g $0/d/file $0/d/sub; touch $0/d/new 2> /dev/null; stat -c %u:%g data/file";
    let table = [
        ("data:/d", "5:6\n0:0\n5:6\n"),
        ("data:/d:idmap=0:300000:65536", "300005:300006\n300000:300000\n5:6\n"),
        ("data:/d:ro,idmap=5:0:1,idmap=6:7:1", "0:7\n65534:65534\n5:6\n"),
    ];
    for (bind, expected) in table {
        let Some(stage) = set_stage() else { return };
        let mount = format!("mount -t tmpfs sub data/sub; {owners}");
        let outcome = shell(&stage, &mount, &["--bind", bind], show);
        if bind.contains("idmap") && outcome.2.contains("knows no id maps") {
            return crate::contract::skip(
                "the file system of temporary directories knows no id maps",
            );
        }
        assert_eq!(outcome, (0, expected.to_owned(), String::new()), "{bind}");
    }
    // Written through the map, a file belongs on the disk to whom it comes from.
    let Some(stage) = set_stage() else { return };
    let write = "setpriv --reuid 300007 --regid 300008 --clear-groups touch $0/d/new; stat -c %u:%g data/new";
    let options = ["--bind", "data:/d:idmap=0:300000:65536"];
    let outcome = shell(&stage, "chmod 777 data", &options, write);
    assert_eq!(outcome, (0, "7:8\n".to_owned(), String::new()));
    // proc is a file system that cannot do it.
    let Some(stage) = set_stage() else { return };
    let outcome = shell(&stage, "", &["--bind", "/proc:/d:norec,idmap=0:300000:65536"], "echo run");
    let stderr = "pk-mounts: mount_setattr(MOUNT_ATTR_IDMAP): Invalid argument\n\
        hint: a file system in \"/proc\" knows no id maps (mount_setattr(2) lists those that do)\n";
    assert_eq!(outcome, (125, String::new(), stderr.to_owned()));
}

#[test]
fn mounts_travel_through_a_bind_as_they_are_told_to() {
    // Mounts at the source come in, those made inside go out, or neither.
    let travel = "mount -t tmpfs t data/sub; findmnt -rno FSTYPE $0/d/sub; umount data/sub; \
        mkdir -p $0/d/sub; mount -t tmpfs t $0/d/sub; findmnt -rno FSTYPE data/sub | sed 's/^/out /'";
    let table = [
        ("data:/d", ""),
        ("data:/d:rprivate", ""),
        ("data:/d:private", ""),
        ("data:/d:slave", "tmpfs\n"),
        ("data:/d:rslave", "tmpfs\n"),
        ("data:/d:shared", "tmpfs\nout tmpfs\n"),
        ("data:/d:rshared", "tmpfs\nout tmpfs\n"),
    ];
    let share = "mount --bind data data; mount --make-shared data";
    for (bind, expected) in table {
        let Some(stage) = set_stage() else { return };
        let outcome = shell(&stage, share, &["--bind", bind], &format!("{travel}; true"));
        assert_eq!(outcome, (0, expected.to_owned(), String::new()), "{bind}");
    }
    // With an r also what is below.
    let below = format!(
        "{share}; mount -t tmpfs sub data/sub; mount --make-shared data/sub; mkdir data/sub/x"
    );
    let show = "findmnt -rno PROPAGATION $0/d; findmnt -rno PROPAGATION $0/d/sub";
    for (bind, expected) in [
        ("data:/d:slave", "private,slave\nshared\n"),
        ("data:/d:rslave", "private,slave\nprivate,slave\n"),
    ] {
        let Some(stage) = set_stage() else { return };
        let outcome = shell(&stage, &below, &["--bind", bind], show);
        assert_eq!(outcome, (0, expected.to_owned(), String::new()), "{bind}");
    }
    let Some(stage) = set_stage() else { return };
    let private = "mount --bind data data; mount --make-private data";
    let (status, _, stderr) = shell(&stage, private, &["--bind", "data:/d:rslave"], "echo run");
    let point = stage.directory().join("data");
    let expected = format!(
        "pk-mounts: open_tree(\"data\"): rslave: nothing travels from the mount on {}, which is private\n\
         hint: pk-ns --propagation slave leaves it slave, if it is shared where that is run\n",
        point.display()
    );
    assert_eq!((status, stderr), (125, expected));
}

#[test]
fn a_missing_source_is_told_part_by_part() {
    let table = [
        (
            "none/a/b",
            "No such file or directory\nhint: \"none\" is missing; mkdir -p none/a/b makes a directory\n",
        ),
        (
            "data/no such",
            "No such file or directory\nhint: \"data/no such\" is missing; mkdir -p 'data/no such' makes a directory\n",
        ),
        ("data/file/x", "Not a directory\nhint: \"data/file\" is not a directory\n"),
        (
            "data/link/x",
            "No such file or directory\nhint: \"data/link\" is a symbolic link to \"nowhere\", which is missing\n",
        ),
    ];
    for (source, complaint) in table {
        let Some(stage) = set_stage() else { return };
        std::os::unix::fs::symlink("nowhere", stage.directory().join("data/link")).unwrap();
        let bind = format!("{source}:/d");
        let (status, _, stderr) = shell(&stage, "", &["--tmp", "--bind", &bind], "echo run");
        assert_eq!(
            (status, stderr),
            (125, format!("pk-mounts: open({source:?}, O_PATH): {complaint}"))
        );
        assert!(!stage.root().join("tmp").exists() && !stage.root().join("d").exists());
    }
}

/// What is bound has to be what it is called: a /dev/null that is something else masks nothing.
#[test]
fn a_false_device_masks_nothing() {
    let Some(stage) = set_stage() else { return };
    let root = stage.root();
    let swap = "mount --bind data/file /dev/null && exec \"$@\"";
    let mut command = private_mounts();
    command.args(["sh", "-c", swap, "sh", TOOL.program, "--mask", "/own"]).arg(&root).arg("true");
    let outcome = run(command.current_dir(stage.directory()));
    let stderr = "pk-mounts: /dev/null: is not the device 1:3\n".to_owned();
    assert_eq!(outcome, (125, String::new(), stderr));
}

//! What goes wrong outside: runs that are killed, disks that are full, pipes that break.

use crate::images::{directory, file, hard_link, layer, oci, whiteout};
use crate::{Outcome, Place, finish, is_root};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Layers that take a while, each over those below it.
fn image() -> Vec<u8> {
    let data = "data".repeat(256 << 10);
    let layers = (0..3).map(|number| {
        let mut items = vec![directory("d").mode(0o750), file(format!("big-{number}"), &data)];
        for part in 0..120 {
            items.push(file(format!("d/{}/{number}-{part}", part % 5), "small").mode(0o600));
        }
        if number > 0 {
            items.push(hard_link(format!("link-{number}"), &format!("big-{}", number - 1)));
            items.push(whiteout(&format!("d/1/.wh.{}-1", number - 1)));
            items.push(whiteout("d/2/.wh..wh..opq"));
        }
        layer(items)
    });
    oci(&layers.collect::<Vec<_>>()).tar()
}

/// All below a directory, with what tells a whole file from a part of it.
fn look(top: &Path) -> BTreeMap<PathBuf, (u32, u64, u64, u64, i64)> {
    let (mut seen, mut left) = (BTreeMap::new(), vec![top.to_owned()]);
    while let Some(path) = left.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        if stat.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        // Times of directories and of whiteouts are those of the run.
        let (size, time) = if stat.is_file() { (stat.len(), stat.mtime()) } else { (0, 0) };
        let inside = path.strip_prefix(top).unwrap().to_owned();
        seen.insert(inside, (stat.mode(), size, stat.nlink(), stat.rdev(), time));
    }
    seen
}

/// How many moments to kill a run at: more of them with `PK_KILLS=200`.
fn moments() -> u64 {
    std::env::var("PK_KILLS").map_or(12, |text| text.parse().unwrap())
}

/// Kills runs at moments that are spread over the time that one takes, and lets `check` look each
/// time. Returns how many were killed before they were done.
fn kill(place: &Place, arguments: &[&str], prepare: impl Fn(), check: impl Fn(bool)) -> u64 {
    prepare();
    let begin = Instant::now();
    place.unpack(arguments);
    let whole = begin.elapsed();
    let mut killed = 0;
    for moment in 0..moments() {
        prepare();
        let mut command = place.command(arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The golden ratio spreads them evenly, whatever their number.
        let part = (f64::from(u32::try_from(moment).unwrap()) * 0.618_034).fract();
        sleep(whole.mul_f64(part));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        let was_killed = status.signal() == Some(9);
        killed += u64::from(was_killed);
        check(was_killed);
    }
    println!("killed {killed} of {} runs of {arguments:?} before they were done", moments());
    killed
}

#[test]
fn a_killed_run_leaves_dir_whole_or_absent() {
    let place = Place::new();
    place.write("image", &image());
    place.unpack(&["image", "reference"]);
    let reference = look(&place.path("reference"));
    let remove = || drop(fs::remove_dir_all(place.path("rootfs")));
    let killed = kill(&place, &["image", "rootfs"], remove, |was_killed| {
        let is_there = place.path("rootfs").exists();
        assert!(was_killed || is_there);
        assert!(!is_there || look(&place.path("rootfs")) == reference, "whole or absent");
        let others = place.names("").into_iter().filter(|name| {
            let name = name.to_string_lossy();
            !["image", "reference", "rootfs"].contains(&&*name) && !name.starts_with(".rootfs.pk-")
        });
        assert_eq!(others.count(), 0);
    });
    assert!(killed > 0);
    remove();
    place.unpack(&["image", "rootfs"]);
    assert_eq!(place.names(""), ["image", "reference", "rootfs"]);
    assert!(look(&place.path("rootfs")) == reference);
}

#[test]
fn a_killed_run_leaves_a_sound_store() {
    let place = Place::new();
    place.write("image", &image());
    let lowerdir = place.unpack(&["--store", "reference", "image"]);
    let reference = look(&place.path("reference"));
    let remove = || drop(fs::remove_dir_all(place.path("layers")));
    let killed = kill(&place, &["--store", "layers", "image"], remove, |_| {
        assert_eq!(place.names("").iter().filter(|name| *name != "layers").count(), 2);
        if !place.path("layers").exists() {
            return;
        }
        for name in place.names("layers") {
            if !name.to_string_lossy().starts_with('.') {
                let whole = look(&place.path("reference").join(&name));
                assert!(look(&place.path("layers").join(&name)) == whole, "what has its name");
            }
        }
        let again = place.unpack(&["--store", "layers", "image"]);
        assert_eq!(again, lowerdir.replace("reference/", "layers/"));
        assert!(look(&place.path("layers")) == reference, "the next run repairs the rest");
    });
    assert!(killed > 0);
}

#[test]
fn a_signal_leaves_whole_layers_only() {
    let place = Place::new();
    place.write("image", &image());
    place.unpack(&["--store", "reference", "image"]);
    let mut command = place.command(&["--store", "layers", "image"]);
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    while !place.path("layers").exists() || place.names("layers").is_empty() {
        assert!(child.try_wait().unwrap().is_none());
        sleep(Duration::from_micros(100));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    for name in place.names("layers") {
        assert!(
            look(&place.path("layers").join(&name)) == look(&place.path("reference").join(&name))
        );
    }
}

/// Runs a script in a mount namespace of its own: `$0` is the tool.
fn in_private(place: &Place, script: &str) -> Option<Outcome> {
    if !is_root() {
        println!("SKIP a small disk: not root");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-euc", script]);
    Some(finish(command.arg(env!("CARGO_BIN_EXE_pk-unpack")).current_dir(place.path("")), b""))
}

#[test]
fn a_full_disk_leaves_nothing() {
    let place = Place::new();
    place.write("image", &image());
    fs::create_dir(place.path("small")).unwrap();
    // In the first layer, in a later one, and for want of inodes.
    for size in ["size=600k", "size=1500k", "size=2500k", "size=1m,nr_inodes=50", "nr_inodes=300"] {
        for arguments in ["image small/rootfs", "--store small/layers image"] {
            let script = format!(
                "mount -t tmpfs -o {size} tmpfs small
                \"$0\" {arguments} && exit 9
                find small -mindepth 1 -name '.*'; find small -path '*/rootfs'"
            );
            let Some(outcome) = in_private(&place, &script) else { return };
            assert_eq!(
                (outcome.status, outcome.stdout.as_str()),
                (Some(0), ""),
                "{size} {outcome:?}"
            );
            let (lines, error) = (outcome.stderr.lines().count(), "No space left on device\n");
            assert!(lines == 1 && outcome.stderr.ends_with(error), "{size} {outcome:?}");
        }
    }
}

#[test]
fn a_read_only_store_serves_what_it_has() {
    let place = Place::new();
    place.write("image", &image());
    place.write("more", &oci(&[layer([file("f", "")])]).tar());
    let lowerdir = place.unpack(&["--store", "layers", "image"]);
    let read_only = "mount --bind layers layers; mount -o remount,bind,ro layers; exec \"$0\"";
    let run = |image| in_private(&place, &format!("{read_only} --store layers {image}"));
    let Some(outcome) = run("image") else { return };
    assert_eq!((outcome.status, outcome.stdout), (Some(0), lowerdir));
    let outcome = run("more").unwrap();
    assert_eq!((outcome.status, outcome.stderr.lines().count()), (Some(1), 1));
    assert!(outcome.stderr.starts_with("pk-unpack: mkdir(\"layers/."), "{outcome:?}");
    assert!(outcome.stderr.ends_with(": Read-only file system\n"), "{outcome:?}");
}

#[test]
fn a_store_of_someone_else() {
    if !is_root() {
        return println!("SKIP becoming another user: not root");
    }
    let place = Place::with(&oci(&[layer([file("f", "")])]));
    place.unpack(&["--store", "layers", "image"]);
    let mut command = place.command(&["--store", "layers", "image"]);
    let outcome = finish(std::os::unix::process::CommandExt::uid(&mut command, 65534), b"");
    let line = "pk-unpack: open(\"layers\"): Permission denied\n";
    assert_eq!((outcome.status, outcome.stderr.as_str()), (Some(1), line));
    // Not even one that can be written to is shared: who owns the files differs.
    fs::set_permissions(place.path("layers"), Permissions::from_mode(0o777)).unwrap();
    let mut command = place.command(&["--store", "layers", "image"]);
    let outcome = finish(std::os::unix::process::CommandExt::uid(&mut command, 65534), b"");
    assert_eq!((outcome.status, place.names("layers").len()), (Some(0), 2));
    assert!(outcome.stdout.ends_with(".own\n"), "{outcome:?}");
}

#[test]
fn pipes_that_break() {
    let bytes = image();
    let place = Place::new();
    place.write("image", &bytes);
    fs::create_dir(place.path("layers")).unwrap();
    for arguments in [["-", "rootfs"].as_slice(), &["--store", "layers", "-"]] {
        for length in [0, 300, 100_000, bytes.len() - 100_000] {
            let outcome = finish(&mut place.command(arguments), &bytes[..length]);
            assert_eq!(
                (outcome.status, outcome.stderr.lines().count()),
                (Some(1), 1),
                "{outcome:?}"
            );
            assert_eq!((place.names("").len(), place.names("layers").len()), (2, 0));
        }
    }
    // Whoever wanted the answer does not read it, or cannot be told.
    let table = [
        ("| :", "", 0),
        ("> /dev/full", "No space left on device\n", 1),
        (">&-", "Bad file number\n", 1),
    ];
    for (index, (output, error, status)) in table.into_iter().enumerate() {
        let shell = |arguments: String| {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("\"$0\" {arguments} {output}")]);
            finish(command.arg(env!("CARGO_BIN_EXE_pk-unpack")).current_dir(place.path("")), b"")
        };
        for outcome in
            [shell(format!("image rootfs-{index}")), shell(format!("--store layers-{index} image"))]
        {
            assert_eq!(outcome.status, Some(status), "{output} {outcome:?}");
            assert!(
                outcome.stderr.ends_with(error) && outcome.stderr.lines().count() <= 1,
                "{outcome:?}"
            );
        }
        assert_eq!(place.names(&format!("layers-{index}")).len(), 3);
        assert!(place.path(format!("rootfs-{index}/big-0")).exists());
    }
}

//! Plain root filesystems, and archives that are compressed as a whole.

use crate::images::{Item, directory, file, gzip, hex, layer, oci, symlink, zstd};
use crate::layers::names;
use crate::{Place, finish};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::process::{Command, Stdio};

/// What `docker export` writes of a small container.
fn exported() -> Vec<u8> {
    layer([
        file(".dockerenv", "").mode(0o755),
        symlink("bin", "usr/bin"),
        directory("etc"),
        file("etc/hostname", ""),
        directory("usr"),
        directory("usr/bin"),
        file("usr/bin/sh", "sh").mode(0o755),
    ])
}

/// Runs a command on some bytes.
fn filtered(command: &str, bytes: &[u8]) -> Vec<u8> {
    let place = Place::new();
    place.write("in", bytes);
    let input = File::open(place.path("in")).unwrap();
    let output = Command::new("sh").args(["-c", command]).stdin(input).output().unwrap();
    assert!(output.status.success(), "{command}");
    output.stdout
}

#[test]
fn a_root_filesystem_is_one_tar() {
    let tar = exported();
    let digest = format!("sha256:{}\n", hex(&tar));
    let place = Place::new();
    let forms = [
        ("plain", tar.clone()),
        ("gzip", gzip(&tar)),
        ("zstd", zstd(&tar)),
        ("xz", filtered("xz", &tar)),
        ("bzip2", filtered("bzip2", &tar)),
        ("two", [filtered("head -c 700 | xz", &tar), filtered("tail -c +701 | xz", &tar)].concat()),
    ];
    for (name, bytes) in forms {
        place.write("tar", &bytes);
        assert_eq!(place.unpack(&["tar", "rootfs"]), digest, "{name}");
        let piped = finish(&mut place.command(&["-", "piped"]), &bytes);
        assert_eq!(
            (piped.status, piped.stdout, piped.stderr),
            (Some(0), digest.clone(), String::new()),
            "{name}"
        );
        assert_eq!(place.read("piped/usr/bin/sh"), "sh");
        assert_eq!(
            names(&place),
            [".dockerenv", "bin", "etc/", "etc/hostname", "usr/", "usr/bin/", "usr/bin/sh"]
        );
        for name in ["rootfs", "piped"] {
            std::fs::remove_dir_all(place.path(name)).unwrap();
        }
    }
}

#[test]
fn a_root_filesystem_may_begin_with_anything() {
    let tar = layer([file("app/x", ""), directory("./etc"), directory("./lib")]);
    let place = Place::new();
    place.write("tar", &tar);
    let digest = format!("sha256:{}\n", hex(&tar));
    assert_eq!(place.unpack(&["tar", "rootfs"]), digest);
    let piped = finish(&mut place.command(&["-", "piped"]), &tar);
    assert_eq!((piped.status, piped.stdout), (Some(0), digest));
}

#[test]
fn what_a_root_filesystem_has_not() {
    let place = Place::new();
    place.write("tar", &exported());
    let line =
        "pk-unpack: tar: is a plain root filesystem: it has no config, tag, platform or layers\n";
    for option in ["--config=c", "--tag=x", "--platform=linux/amd64"] {
        place.refuse(&[option, "tar", "rootfs"], 1, line);
    }
    let text = place.unpack(&["--explain", "tar", "rootfs"]);
    assert!(text.contains("cat tar | tar --xattrs"), "{text}");
    let tars: [&[Item]; 3] = [
        &[file("etc/passwd", "")],
        &[file("usr/bin/x", ""), file("../x", "")],
        &[file("etc/x", ""), file("src/main.c", "")],
    ];
    for items in tars {
        place.write("other", &layer(items.iter().cloned()));
        let outcome = place.run(&["other", "rootfs"]);
        assert_eq!(outcome.status, Some(1), "{outcome:?}");
        assert_eq!(place.names(""), ["other", "tar"]);
    }
}

#[test]
fn images_are_compressed_as_a_whole_too() {
    let place = Place::new();
    let image = oci(&[layer([file("f", "x")])]).tar();
    for command in ["gzip", "zstd", "xz", "bzip2"] {
        let bytes = filtered(command, &image);
        place.write("image", &bytes);
        place.unpack(&["image", "rootfs"]);
        let piped = finish(&mut place.command(&["-", "piped"]), &bytes);
        assert_eq!((piped.status, place.read("piped/f")), (Some(0), "x".into()), "{command}");
        for name in ["rootfs", "piped"] {
            std::fs::remove_dir_all(place.path(name)).unwrap();
        }
    }
}

#[test]
fn standard_input_that_is_a_file_is_read_from_where_it_stands() {
    let place = Place::new();
    let mut image = File::create_new(place.path("image")).unwrap();
    image.write_all(b"begin").unwrap();
    image.write_all(&oci(&[layer([file("f", "x")])]).tar()).unwrap();
    let mut input = File::open(place.path("image")).unwrap();
    input.seek(SeekFrom::Start(5)).unwrap();
    let mut command = place.command(&["-", "rootfs"]);
    let status = command.stdin(input).stdout(Stdio::null()).status().unwrap();
    assert!(status.success());
    assert_eq!(place.read("rootfs/f"), "x");
}

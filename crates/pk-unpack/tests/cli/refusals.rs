//! What is refused, in which words, and that nothing is left of it.

use crate::images::{
    Item, Part, Parts, directory, docker, file, gzip, hard_link, hex, layer, oci, symlink,
};
use crate::{Place, finish};
use serde_json::json;
use std::fs;
use std::process::Command;
use std::slice::from_ref;

fn simple() -> Vec<u8> {
    layer([file("f", &"x".repeat(2000))])
}

/// The bytes of a part, to be changed.
fn part<'a>(parts: &'a mut Parts, path: &str) -> &'a mut Vec<u8> {
    match parts.0.iter_mut().find(|(name, _)| name == path).map(|(_, part)| part) {
        Some(Part::Bytes(bytes)) => bytes,
        _ => panic!("no part {path}"),
    }
}

#[test]
fn usage() {
    let place = Place::with(&oci(&[simple()]));
    let table: [(&[&str], &str); 5] = [
        (&["--nonsense"], "--nonsense: no such option\nhint: --help lists them\n"),
        (&[], "IMAGE DIR: 0 operands given\n"),
        (&["image"], "IMAGE DIR: 1 operands given\n"),
        (&["image", "rootfs", "more"], "IMAGE DIR: 3 operands given\n"),
        (
            &["--platform", "linux", "image", "rootfs"],
            "--platform \"linux\": is not OS/ARCHITECTURE[/VARIANT]\n",
        ),
    ];
    for (arguments, stderr) in table {
        place.refuse(arguments, 2, &format!("pk-unpack: {stderr}"));
    }
}

#[test]
fn a_directory_that_is_in_the_way() {
    let place = Place::with(&oci(&[simple()]));
    fs::create_dir(place.path("full")).unwrap();
    place.write("full/x", b"");
    let full = fs::canonicalize(place.path("full")).unwrap();
    let table = [
        ("full", format!("{}: exists and is not empty", full.display())),
        ("image", "open(\"image\"): Not a directory".to_owned()),
        ("no/rootfs", "open(\"no/rootfs\"): No such file or directory".to_owned()),
        ("/", "/: is not an empty directory".to_owned()),
    ];
    for (operand, reason) in table {
        place.refuse(&["image", operand], 1, &format!("pk-unpack: {reason}\n"));
    }
    let reason = "pk-unpack: open(\"no\"): No such file or directory\n";
    place.refuse(&["--config", "no/config", "image", "rootfs"], 1, reason);
}

#[test]
fn the_working_directory() {
    let place = Place::new();
    let path = fs::canonicalize(place.path("")).unwrap();
    let reason = "is the working directory, and would be replaced by another one";
    let hint = "hint: run it from the directory above";
    let line = format!("pk-unpack: {}: {reason}\n{hint}\n", path.display());
    place.refuse(&["/dev/null", "."], 1, &line);
}

#[test]
fn what_is_no_image() {
    let place = Place::new();
    place.write("text", &b"no tar".repeat(1000));
    place.write("tar", &layer([file("etc/passwd", "")]));
    place.write("empty", b"");
    let none = "is no image: it has neither index.json nor manifest.json; and no root filesystem: \
        that has etc, and one of bin, dev, lib, proc, sbin, usr";
    let table = [
        ("text", "text: is no tar archive: not a tar header".to_owned()),
        ("tar", format!("tar: {none}")),
        ("empty", format!("empty: {none}")),
        ("gone", "open(\"gone\"): No such file or directory".to_owned()),
        (".", format!(".: {none}")),
    ];
    for (image, reason) in table {
        place.refuse(&[image, "rootfs"], 1, &format!("pk-unpack: {reason}\n"));
    }
}

#[test]
fn a_truncated_archive() {
    let parts = oci(&[simple()]);
    let (bytes, name) = (parts.tar(), &parts.0[1].0);
    let place = Place::new();
    // The second part is the layer: the cut is in it.
    place.write("image", &bytes[..512 + 512 + 1200]);
    let cut = format!("pk-unpack: image: is truncated in {name:?}\n");
    place.refuse(&["image", "rootfs"], 1, &cut);
    let before = place.names("");
    let outcome = finish(&mut place.command(&["-", "rootfs"]), &bytes[..512 + 512 + 1200]);
    let cut = format!("pk-unpack: -: is truncated in {name:?}\n");
    assert_eq!((outcome.status, outcome.stderr, place.names("")), (Some(1), cut, before));
    place.write("image.gz", &gzip(&bytes)[..500]);
    let outcome = place.run(&["image.gz", "rootfs"]);
    assert_eq!(outcome.status, Some(1), "{outcome:?}");
}

#[test]
fn a_layer_that_ends_early() {
    let tar = simple();
    // Some builders write neither the filling of the last block nor the blocks of zeros.
    let place = Place::with(&oci(&[tar[..512 + 2000].to_vec()]));
    place.unpack(&["image", "rootfs"]);
    let cut = tar[..512 + 1999].to_vec();
    let name = &hex(&cut)[..12];
    let place = Place::with(&oci(&[cut]));
    place.refuse(&["image", "rootfs"], 1, &format!("pk-unpack: layer {name}: \"f\": truncated\n"));
}

#[test]
fn wrong_digests() {
    let tar = simple();
    let name = hex(&tar);
    let mut wrong = tar.clone();
    wrong[600] ^= 1;

    let mut parts = oci(from_ref(&tar));
    *part(&mut parts, &format!("blobs/sha256/{name}")) = wrong.clone();
    let states =
        format!("its digest is sha256:{}, but the image states sha256:{name}", hex(&wrong));
    let reason = format!("pk-unpack: layer {}: its tar: {states}\n", &name[..12]);
    Place::with(&parts).refuse(&["image", "rootfs"], 1, &reason);

    // The blob is what it should be, the tar in it is not.
    let (mut parts, blob) = (Parts::default(), gzip(&tar));
    let manifest = parts.image(from_ref(&blob), from_ref(&wrong));
    parts.index(&[manifest]);
    let states =
        format!("its digest is sha256:{name}, but the image states sha256:{}", hex(&wrong));
    let reason = format!("pk-unpack: layer {}: its tar: {states}\n", &hex(&blob)[..12]);
    Place::with(&parts).refuse(&["image", "rootfs"], 1, &reason);

    // The other way round: wrong bytes after the compressed data do not matter to the tar.
    let (mut parts, blob) = (Parts::default(), gzip(&tar));
    let mut other = blob.clone();
    *other.last_mut().unwrap() ^= 1;
    let manifest = parts.image(from_ref(&blob), from_ref(&tar));
    parts.index(&[manifest]);
    *part(&mut parts, &format!("blobs/sha256/{}", hex(&blob))) = other.clone();
    let states =
        format!("its digest is sha256:{}, but the image states sha256:{}", hex(&other), hex(&blob));
    let reason = format!("pk-unpack: layer {}: {states}\n", &hex(&blob)[..12]);
    Place::with(&parts).refuse(&["image", "rootfs"], 1, &reason);

    let mut parts = docker(&[("a:latest", &[tar])]);
    let path = parts.0[1].0.clone();
    part(&mut parts, &path).push(b'\n');
    let outcome = Place::with(&parts).run(&["image", "rootfs"]);
    assert!(outcome.stderr.starts_with(&format!("pk-unpack: image: {path}: its digest is ")));
}

#[test]
fn what_is_named_but_not_there() {
    let tar = simple();
    let mut parts = oci(from_ref(&tar));
    let path = format!("blobs/sha256/{}", hex(&tar));
    parts.0.retain(|(name, _)| *name != path);
    let manifest = &parts.0[1].0;
    let reason =
        format!("pk-unpack: image: {path}: image: {manifest} names it, but it is not there\n");
    Place::with(&parts).refuse(&["image", "rootfs"], 1, &reason);

    let mut parts = docker(&[("a:latest", &[tar])]);
    parts.0.retain(|(name, _)| name != "0-0/layer.tar");
    let reason = "pk-unpack: image: 0-0/layer.tar: manifest.json names it, but it is not there\n";
    Place::with(&parts).refuse(&["image", "rootfs"], 1, reason);
}

#[test]
fn unknown_media_types_and_large_documents() {
    let mut parts = Parts::default();
    let other = parts.blob("chart.v9+json", "{}");
    let digest = other["digest"].as_str().unwrap().replace(':', "/");
    parts.index(&[other]);
    let reason = format!(
        "pk-unpack: image: blobs/{digest}: its media type \"application/vnd.oci.image.chart.v9+json\" \
        is not known as that of a manifest\n"
    );
    Place::with(&parts).refuse(&["image", "rootfs"], 1, &reason);

    let mut parts = Parts::default();
    parts.add("index.json", json!({ "x": "x".repeat(4 << 20) }).to_string());
    let reason = "pk-unpack: image: index.json: a JSON document larger than 4 MiB\n";
    Place::with(&parts).refuse(&["image", "rootfs"], 1, reason);
}

#[test]
fn entries_that_lead_out() {
    let dots = "`..` in a name may lead out of the root";
    let table: [(Item, &str, String); 7] = [
        (file("../x", ""), "../x", dots.into()),
        (file("a/../../x", ""), "a/../../x", dots.into()),
        (file("a/../.wh.x", ""), "a/../.wh.x", dots.into()),
        (hard_link("x", "../../etc/passwd"), "x", format!("linkat(\"../../etc/passwd\"): {dots}")),
        (
            hard_link("x", "/etc/passwd"),
            "x",
            "linkat(\"/etc/passwd\"): No such file or directory".into(),
        ),
        (file("a/.wh...", ""), "a/.wh...", "this whiteout names nothing that can be hidden".into()),
        (symlink("./", "/"), "./", "the root itself can only be a directory".into()),
    ];
    for (item, name, reason) in table {
        let tar = layer([directory("a"), file("a/f", ""), item]);
        let short = &hex(&tar)[..12].to_owned();
        let place = Place::with(&oci(&[tar]));
        let line = format!("pk-unpack: layer {short}: {name:?}: {reason}\n");
        place.refuse(&["image", "rootfs"], 1, &line);
    }
}

#[test]
fn a_hard_link_through_a_symlink_that_points_out() {
    let outside = Place::new();
    outside.write("secret", b"");
    let target = outside.path("");
    let tar = layer([symlink("out", target.to_str().unwrap()), hard_link("x", "out/secret")]);
    let short = &hex(&tar)[..12].to_owned();
    let reason = "leads through a symlink of this layer that points out of the root: \"out\"";
    let line = format!("pk-unpack: layer {short}: \"x\": {reason}\n");
    Place::with(&oci(&[tar])).refuse(&["image", "rootfs"], 1, &line);
}

#[test]
fn a_deep_tree_is_removed() {
    let deep = "d/".repeat(2000);
    let tar = layer([directory("x").record("path", &deep), file("../x", "")]);
    let place = Place::with(&oci(&[tar]));
    let script = "ulimit -Sn 64; exec \"$0\" image rootfs";
    let mut shell = Command::new("sh");
    let shell = shell.args(["-c", script, env!("CARGO_BIN_EXE_pk-unpack")]);
    let outcome = finish(shell.current_dir(place.path("")), b"");
    assert!(outcome.stderr.contains("may lead out"), "{outcome:?}");
    assert_eq!(place.names(""), ["image"]);
}

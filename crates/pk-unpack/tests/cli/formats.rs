//! What is read: archives of every kind, compressions, tags, platforms.

use crate::images::{Parts, directory, docker, file, gzip, hex, layer, oci, zstd};
use crate::{Place, finish};
use serde_json::json;
use std::fs;

fn two_layers() -> [Vec<u8>; 2] {
    [
        layer([directory("etc"), file("etc/motd", "lower\n"), file("etc/issue", "issue\n")]),
        layer([file("./etc/motd", "upper\n")]),
    ]
}

fn manifest_digest(parts: &Parts) -> String {
    let index = parts.0.iter().find(|(path, _)| path == "index.json").unwrap();
    let crate::images::Part::Bytes(index) = &index.1 else { panic!() };
    let index: serde_json::Value = serde_json::from_slice(index).unwrap();
    format!("{}\n", index["manifests"][0]["digest"].as_str().unwrap())
}

#[test]
fn a_layout_is_read_as_directory_tar_and_stream() {
    let parts = oci(&two_layers());
    let place = Place::with(&parts);
    parts.write_to(&place.path("layout"));
    let digest = manifest_digest(&parts);
    assert_eq!(place.unpack(&["image", "of-tar"]), digest);
    assert_eq!(place.unpack(&["layout", "of-directory"]), digest);
    for (name, bytes) in [
        ("of-stream", parts.tar()),
        ("of-gzip-stream", gzip(&parts.tar())),
        ("of-zstd-stream", zstd(&parts.tar())),
    ] {
        let outcome = finish(&mut place.command(&["-", name]), &bytes);
        assert_eq!((outcome.status, outcome.stdout), (Some(0), digest.clone()), "{name}");
    }
    place.write("image.gz", &gzip(&parts.tar()));
    assert_eq!(place.unpack(&["image.gz", "of-gzip"]), digest);
    for name in place.names("").iter().filter(|name| name.to_str().unwrap().starts_with("of-")) {
        assert_eq!(place.read(place.path(name).join("etc/motd")), "upper\n", "{name:?}");
        assert_eq!(place.read(place.path(name).join("etc/issue")), "issue\n", "{name:?}");
    }
}

#[test]
fn an_older_archive_is_read_with_tags_and_shared_layers() {
    let tars = two_layers();
    let config = crate::images::config(&tars);
    let place = Place::with(&docker(&[("a:latest", &tars), ("b/c:1.0", &tars[..1])]));
    assert_eq!(
        place.unpack(&["--tag", "a", "image", "a"]),
        format!("sha256:{}\n", hex(config.as_bytes()))
    );
    assert_eq!(place.read("a/etc/motd"), "upper\n");
    place.unpack(&["--tag=b/c:1.0", "--config", "config", "image", "b"]);
    assert_eq!(place.read("b/etc/motd"), "lower\n");
    assert_eq!(place.read("config"), crate::images::config(&tars[..1]));
    let mode = |name: &str| fs::metadata(place.path(name)).unwrap().permissions();
    assert_eq!(mode("config"), mode("image"), "the umask holds");
    let hint = "hint: it has --tag a:latest, --tag b/c:1.0\n";
    place.refuse(&["image", "c"], 1, &format!("pk-unpack: image: holds several images\n{hint}"));
    let reason = "pk-unpack: image: holds no image with the tag \"x\"\n";
    place.refuse(&["--tag", "x", "image", "c"], 1, &format!("{reason}{hint}"));
}

#[test]
fn layers_are_told_by_their_bytes() {
    let tars = two_layers();
    let halves = |tar: &[u8], pack: fn(&[u8]) -> Vec<u8>| {
        let (first, second) = tar.split_at(700);
        [pack(first), pack(second)].concat()
    };
    let skippable = [b"\x50\x2a\x4d\x18\x03\0\0\0abc", zstd(&tars[1]).as_slice()].concat();
    let table = [
        ("gzip", tars.each_ref().map(|tar| gzip(tar))),
        ("zstd", tars.each_ref().map(|tar| zstd(tar))),
        ("several gzip members", tars.each_ref().map(|tar| halves(tar, gzip))),
        ("several zstd frames", tars.each_ref().map(|tar| halves(tar, zstd))),
        ("mixed, with a skippable frame", [tars[0].clone(), skippable]),
        // zstd:chunked has its table of contents in such frames, after the tar.
        (
            "skippable frames at the end",
            tars.each_ref().map(|tar| {
                [
                    zstd(tar).as_slice(),
                    b"\x50\x2a\x4d\x18\x03\0\0\0abc",
                    b"\x5e\x2a\x4d\x18\0\0\0\0",
                ]
                .concat()
            }),
        ),
    ];
    for (name, blobs) in table {
        let mut parts = Parts::default();
        let manifest = parts.image(&blobs, &tars);
        parts.index(&[manifest]);
        let place = Place::with(&parts);
        place.unpack(&["image", "rootfs"]);
        assert_eq!(place.read("rootfs/etc/motd"), "upper\n", "{name}");
    }
}

#[test]
fn an_image_is_chosen_from_nested_indexes_by_platform() {
    let mut parts = Parts::default();
    let mut listed = Vec::new();
    for (architecture, variant) in [("arm", "v6"), ("arm", "v7"), ("s390x", "")] {
        let tars = [layer([file("who", &format!("{architecture}{variant}"))])];
        let mut manifest = parts.image(&tars, &tars);
        manifest["platform"] = json!({ "os": "linux", "architecture": architecture });
        if !variant.is_empty() {
            manifest["platform"]["variant"] = variant.into();
        }
        listed.push(manifest);
    }
    let nested = json!({ "schemaVersion": 2, "manifests": listed }).to_string();
    let nested = parts.blob("index.v1+json", nested);
    parts.index(&[nested]);
    let place = Place::with(&parts);
    place.unpack(&["--platform", "linux/arm/v7", "image", "v7"]);
    assert_eq!(place.read("v7/who"), "armv7");
    place.unpack(&["--platform=linux/s390x", "image", "s390x"]);
    assert_eq!(place.read("s390x/who"), "s390x");
    let hint =
        "hint: it has --platform linux/arm/v6, --platform linux/arm/v7, --platform linux/s390x\n";
    let reason = "pk-unpack: image: holds no image for linux/riscv64\n";
    place.refuse(&["--platform", "linux/riscv64", "image", "x"], 1, &format!("{reason}{hint}"));
}

#[test]
fn an_empty_directory_is_replaced() {
    let place = Place::with(&oci(&two_layers()));
    fs::create_dir(place.path("rootfs")).unwrap();
    std::os::unix::fs::symlink("rootfs", place.path("link")).unwrap();
    place.unpack(&["image", "link/"]);
    assert_eq!(place.read("rootfs/etc/motd"), "upper\n");
    assert_eq!(place.names(""), ["image", "link", "rootfs"]);
}

#[test]
fn explaining_does_nothing() {
    let place = Place::with(&oci(&two_layers()));
    let text = place.unpack(&["--explain", "--config", "config", "image", "rootfs"]);
    for part in ["mkdir(", "tar -xOf image blobs/sha256/", "> config", "rename(", "write(1, "] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(place.names(""), ["image"]);
}

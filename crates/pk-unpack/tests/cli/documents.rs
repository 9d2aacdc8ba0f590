//! Hostile documents: what an image says of itself, and does not hold.

use crate::Place;
use crate::images::{Part, Parts, config, docker, file, hex, layer, oci};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink as link;

fn tar() -> Vec<u8> {
    layer([file("f", "")])
}

/// What a run on `parts` says, which must leave nothing.
fn refusal(parts: &Parts) -> String {
    let place = Place::with(parts);
    let outcome = place.run(&["image", "rootfs"]);
    assert_eq!((outcome.status, place.names("")), (Some(1), vec!["image".into()]), "{outcome:?}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    outcome.stderr
}

/// An image whose manifest has this as its layer.
fn with_layer(change: impl FnOnce(&mut Value)) -> Parts {
    let mut parts = Parts::default();
    let config = parts.blob("config.v1+json", config(&[tar()]));
    let mut layer = parts.blob("layer.v1.tar", tar());
    change(&mut layer);
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
    let manifest = parts.blob("manifest.v1+json", manifest.to_string());
    parts.index(&[manifest]);
    parts
}

#[test]
fn descriptors_that_are_wrong() {
    let size = tar().len();
    let wrong = format!("blobs/sha256/{}: has {size} bytes, but the image states 7", hex(&tar()));
    let table: [(&str, Value, &str); 7] = [
        ("size", json!(7), &wrong),
        ("size", json!(-1), "malformed: "),
        ("size", json!(1e30), "malformed: "),
        ("digest", json!("sha256:../../../etc/passwd"), "malformed: "),
        ("digest", json!("md5:00"), "names it, but it is not there"),
        ("mediaType", json!("application/x-tar"), "is not known as that of a layer"),
        ("mediaType", json!("application/vnd.oci.image.layer.v1.tar+lzw"), "is not known as"),
    ];
    for (key, value, reason) in table {
        let said = refusal(&with_layer(|layer| layer[key] = value.clone()));
        assert!(said.contains(reason), "{key} {value}: {said}");
    }
    Place::with(&with_layer(|_| ())).unpack(&["image", "rootfs"]);
}

#[test]
fn documents_that_never_end() {
    let mut deep = Parts::default();
    deep.add("index.json", "[".repeat(100_000));
    assert!(refusal(&deep).contains("index.json: malformed: "));

    // Indexes in indexes are followed, but not to more than anybody means.
    let mut nested = Parts::default();
    let mut inner = nested.image(&[tar()], &[tar()]);
    for _ in 0..50 {
        let index = json!({ "schemaVersion": 2, "manifests": [inner] });
        inner = nested.blob("index.v1+json", index.to_string());
    }
    nested.index(&[inner]);
    Place::with(&nested).unpack(&["image", "rootfs"]);

    let mut many = Parts::default();
    let manifests = (0..10_001).map(|number| {
        let digest = format!("sha256:{number:064x}");
        json!({ "mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest, "size": 1 })
    });
    many.index(&manifests.collect::<Vec<_>>());
    assert!(refusal(&many).ends_with("its indexes list too much\n"));
}

#[test]
fn paths_that_leave_the_archive() {
    let place = Place::new();
    place.write("secret", b"{}");
    for path in ["../secret", "../../../../../../etc/passwd", "/etc/passwd", "0-0", "link"] {
        let mut parts = docker(&[("a:latest", &[tar()])]);
        parts.0.push(("link".to_owned(), Part::Link("/etc/passwd".to_owned())));
        let Some((_, Part::Bytes(manifest))) =
            parts.0.iter_mut().find(|(name, _)| name == "manifest.json")
        else {
            panic!()
        };
        let mut value: Value = serde_json::from_slice(manifest).unwrap();
        value[0]["Layers"][0] = json!(path);
        *manifest = value.to_string().into_bytes();
        let said = refusal(&parts);
        assert!(said.ends_with("manifest.json names it, but it is not there\n"), "{said}");
    }
}

#[test]
fn directories_that_lead_out() {
    let place = Place::new();
    let parts = oci(&[tar()]);
    parts.write_to(&place.path("layout"));
    let blob = format!("layout/blobs/sha256/{}", hex(&tar()));
    let run = || {
        let outcome = place.run(&["layout", "rootfs"]);
        assert_eq!(outcome.status, Some(1), "{outcome:?}");
        outcome.stderr
    };
    place.write("tar", &tar());
    fs::remove_file(place.path(&blob)).unwrap();
    link(place.path("tar"), place.path(&blob)).unwrap();
    assert!(run().ends_with("names it, but it is not there\n"));
    fs::remove_file(place.path(&blob)).unwrap();
    make_fifo(&place, &blob);
    assert!(run().ends_with("is not a regular file\n"));
    fs::rename(place.path("layout/index.json"), place.path("index.json")).unwrap();
    link(place.path("index.json"), place.path("layout/index.json")).unwrap();
    assert!(run().starts_with("pk-unpack: layout: is no image"));
}

/// A fifo, which would keep an unwary reader waiting for ever.
fn make_fifo(place: &Place, path: &str) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, place.path(path), FileType::Fifo, Mode::RWXU, 0).unwrap();
}

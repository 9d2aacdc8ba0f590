//! Stacks of layers made at random: what the specification says of them, in the memory of the test,
//! and what `umoci unpack` makes of them.

use crate::images::{Item, directory, fifo, file, hard_link, layer, oci, symlink, whiteout};
use crate::trees::{config, facts};
use crate::{Place, is_root};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What an entry of a layer does to its path.
#[derive(Clone, Debug)]
enum Act {
    Directory,
    File(String),
    Symlink(&'static str),
    Fifo,
    HardLink(String),
    Delete,
    /// Hides what the directory held. It is a directory's only entry, or comes after its own.
    Opaque,
}

type Layer = Vec<(String, Act)>;

fn hides(act: &Act) -> bool {
    matches!(act, Act::Delete | Act::Opaque)
}

fn path() -> impl Strategy<Value = String> {
    vec(select(vec!["a", "b", "c"]), 1..4).prop_map(|parts| parts.join("/"))
}

fn stack() -> impl Strategy<Value = Vec<Layer>> {
    let act = prop_oneof![
        3 => Just(Act::Directory),
        4 => "[x-z]{0,2}".prop_map(Act::File),
        1 => select(vec!["a", "b/c", "/", "nowhere"]).prop_map(Act::Symlink),
        1 => Just(Act::Fifo),
        2 => path().prop_map(Act::HardLink),
        3 => Just(Act::Delete),
        1 => Just(Act::Opaque),
    ];
    vec(vec((path(), act), 0..10), 1..5)
}

/// A tree in memory: what lies at each path, and which file it is.
#[derive(Clone, Default)]
struct Model {
    nodes: BTreeMap<PathBuf, (usize, Act)>,
    made: usize,
    /// The symlinks that the layer in hand hid.
    gone: Vec<PathBuf>,
}

impl Model {
    /// Applies a layer, and returns what of it has a meaning that is beyond doubt: no path twice,
    /// no parent that is not a directory, no link to what is not there.
    fn apply(&mut self, layer: &Layer) -> Layer {
        let (hiding, others): (Layer, Layer) =
            layer.iter().cloned().partition(|(_, act)| hides(act));
        let mut taken = Layer::new();
        self.gone.clear();
        for (path, act) in hiding {
            if !taken.iter().any(|(other, _)| *other == path) && self.hide(Path::new(&path), &act) {
                taken.push((path, act));
            }
        }
        for (path, act) in others {
            if self.put(&path, &act, &taken) {
                taken.push((path, act));
            }
        }
        taken
    }

    fn hide(&mut self, path: &Path, act: &Act) -> bool {
        let is_opaque = matches!(act, Act::Opaque);
        // Through a symlink of a lower layer it would hide where that leads.
        let through_symlink = self.above(path).any(|act| matches!(act, Act::Symlink(_)));
        if through_symlink || is_opaque && !self.is_directory(path) {
            return false;
        }
        let stays = |node: &Path| !node.starts_with(path) || is_opaque && node == path;
        let gone = self.nodes.iter().filter(|(node, _)| !stays(node));
        let gone = gone.filter(|(_, (_, act))| matches!(act, Act::Symlink(_)));
        self.gone.extend(gone.map(|(node, _)| node.clone()));
        self.nodes.retain(|node, _| stays(node));
        true
    }

    fn put(&mut self, path: &str, act: &Act, taken: &Layer) -> bool {
        let path = Path::new(path);
        // A deletion beside an entry of the same name is another test's.
        let mut others = taken.iter().filter(|(_, act)| !matches!(act, Act::Opaque));
        let is_again = others.any(|(other, _)| Path::new(other) == path);
        // Where the whiteout comes later, a symlink is still followed.
        let was_symlink = |above: &Path| self.gone.iter().any(|gone| gone == above);
        let below_file = self.above(path).any(|act| !matches!(act, Act::Directory))
            || path
                .ancestors()
                .skip(1)
                .any(|above| was_symlink(above) && !self.is_directory(above));
        let is_file = |path: &Path| matches!(self.nodes.get(path), Some((_, Act::File(_))));
        let to_nothing = |target: &Path| !is_file(target) || target.starts_with(path);
        let lacks_target = matches!(act, Act::HardLink(target) if to_nothing(Path::new(target)));
        if is_again || below_file || lacks_target {
            return false;
        }
        let node = match act {
            Act::HardLink(target) => self.nodes[Path::new(target)].clone(),
            act => (self.made, act.clone()),
        };
        // What this layer made must not be replaced by it, and no whiteout led through a symlink.
        let replaces = !(matches!(act, Act::Directory) && self.is_directory(path));
        let is_symlink = matches!(act, Act::Symlink(_));
        let counts = |other: &Act| is_symlink || !matches!(other, Act::Delete);
        let is_below = |other: &str| Path::new(other).starts_with(path);
        if replaces && taken.iter().any(|(other, act)| is_below(other) && counts(act)) {
            return false;
        }
        for above in path.ancestors().skip(1).filter(|above| *above != "") {
            self.made += 1;
            self.nodes.entry(above.to_owned()).or_insert((self.made, Act::Directory));
        }
        if replaces {
            self.nodes.retain(|node, _| !node.starts_with(path));
            self.made += 1;
            self.nodes.insert(path.to_owned(), node);
        }
        true
    }

    /// What lies on the way to a path.
    fn above(&self, path: &Path) -> impl Iterator<Item = &Act> {
        path.ancestors().skip(1).filter_map(|above| Some(&self.nodes.get(above)?.1))
    }

    fn is_directory(&self, path: &Path) -> bool {
        matches!(self.nodes.get(path), Some((_, Act::Directory)))
    }
}

fn layer_of(entries: &Layer) -> Vec<u8> {
    layer(entries.iter().map(|(path, act)| item(path, act)))
}

fn item(path: &str, act: &Act) -> Item {
    let (above, name) = path.split_at(path.rfind('/').map_or(0, |slash| slash + 1));
    match act {
        Act::Directory => directory(path),
        Act::File(contents) => file(path, contents),
        Act::Symlink(target) => symlink(path, target),
        Act::Fifo => fifo(path),
        Act::HardLink(target) => hard_link(path, target),
        Act::Delete => whiteout(&format!("{above}.wh.{name}")),
        Act::Opaque => whiteout(&format!("{path}/.wh..wh..opq")),
    }
}

/// What lies at each path, and the first name that it has.
type Seen = BTreeMap<PathBuf, (String, PathBuf)>;

fn modelled(model: &Model) -> Seen {
    let mut first = BTreeMap::new();
    let nodes = model.nodes.iter().map(|(path, (id, act))| {
        let name = first.entry(id).or_insert_with(|| path.clone()).clone();
        (path.clone(), (format!("{act:?}"), name))
    });
    nodes.collect()
}

fn seen(top: &Path) -> Seen {
    let mut seen = Seen::new();
    let mut first = BTreeMap::new();
    // In the order of the paths, as the model has them.
    for path in facts(top).into_keys().filter(|path| !path.as_os_str().is_empty()) {
        let full = top.join(&path);
        let stat = fs::symlink_metadata(&full).unwrap();
        let act = match stat.file_type() {
            kind if kind.is_dir() => "Directory".to_owned(),
            kind if kind.is_file() => format!("File({:?})", fs::read_to_string(&full).unwrap()),
            kind if kind.is_symlink() => format!("Symlink({:?})", fs::read_link(&full).unwrap()),
            _ => "Fifo".to_owned(),
        };
        let name =
            first.entry(std::os::unix::fs::MetadataExt::ino(&stat)).or_insert_with(|| path.clone());
        seen.insert(path.clone(), (act, name.clone()));
    }
    seen
}

/// An image that both unpackers read, in a directory.
fn write_layout(place: &Place, tars: &[Vec<u8>]) {
    let mut parts = oci(tars);
    parts.add("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    parts.write_to(&place.path("image"));
    let index = place.read("image/index.json");
    let named = r#""annotations":{"org.opencontainers.image.ref.name":"latest"},"digest""#;
    place.write("image/index.json", index.replace(r#""digest""#, named).as_bytes());
}

fn has_umoci() -> bool {
    let missing = Command::new("umoci").arg("--version").output().is_err();
    if missing || !is_root() {
        let reason = if missing { "no umoci" } else { "it unpacks as root" };
        println!("SKIP  stacks of layers beside umoci's: {reason}");
    }
    !missing && is_root()
}

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn a_stack_is_what_the_specification_says(layers in stack(), whiteouts_last in any::<bool>()) {
        let mut model = Model::default();
        let tars = layers.iter().map(|layer| {
            let mut taken = model.apply(layer);
            if whiteouts_last {
                taken.sort_by_key(|(_, act)| hides(act));
            }
            layer_of(&taken)
        });
        let tars: Vec<_> = tars.collect();
        let place = Place::in_memory();
        write_layout(&place, &tars);
        place.unpack(&["image", "rootfs"]);
        prop_assert_eq!(seen(&place.path("rootfs")), modelled(&model));
    }
}

#[test]
fn a_stack_is_what_umoci_makes_of_it() {
    if !has_umoci() {
        return;
    }
    proptest!(config(24), |(layers in stack())| {
        let mut model = Model::default();
        let tars: Vec<_> = layers.iter().map(|layer| layer_of(&model.apply(layer))).collect();
        let place = Place::in_memory();
        write_layout(&place, &tars);
        place.unpack(&["image", "rootfs"]);
        let image = format!("{}:latest", place.path("image").display());
        let mut umoci = Command::new("umoci");
        let umoci = umoci.args(["unpack", "--image", &image]).arg(place.path("bundle"));
        let umoci = umoci.output().unwrap();
        prop_assert!(umoci.status.success(), "{}", String::from_utf8_lossy(&umoci.stderr));
        prop_assert_eq!(facts(&place.path("rootfs")), facts(&place.path("bundle/rootfs")));
    });
}

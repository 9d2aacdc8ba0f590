//! Stacks of layers made at random from few names, so that their entries meet in every way.

use crate::images::{Item, directory, fifo, file, hard_link, layer, oci, symlink, whiteout};
use crate::store::difference;
use crate::{Outcome, Place, is_root};

/// Numbers that look random and are the same each time: Marsaglia's xorshift.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }

    fn path(&mut self) -> String {
        let parts: Vec<_> = (0..=self.roll(3)).map(|_| self.pick(&["a", "b", "c"])).collect();
        parts.join("/")
    }

    fn item(&mut self) -> Item {
        let path = self.path();
        let (above, name) = path.rsplit_once('/').unwrap_or((".", &path));
        let item = match self.roll(16) {
            0..=3 => directory(&path),
            4..=6 => file(&path, self.pick(&["one", "two", "three"])),
            7 | 8 => {
                let target = self.path();
                let start = self.pick(&["", "/", "../", "./", "../../a/", "c/../"]);
                symlink(&path, &format!("{start}{target}"))
            }
            9 | 10 => hard_link(&path, &self.path()),
            11..=13 => whiteout(&format!("{above}/.wh.{name}")),
            14 => whiteout(&format!("{above}/.wh..wh..opq")),
            _ => fifo(&path),
        };
        if self.roll(4) == 0 && !item.name().contains(".wh.") {
            let mode = [0o700, 0o711, 0o1777, 0o2755][self.roll(4)];
            return item.mode(mode).record("SCHILY.xattr.user.x", self.pick(&["1", "2"]));
        }
        item
    }
}

/// Both ways out of a stack: the outcome of DIR, which is that of the layers too.
fn unpack(layers: &[Vec<Item>], seed: u64) -> Outcome {
    let tars: Vec<_> = layers.iter().map(|items| layer(items.iter().cloned())).collect();
    let place = Place::with(&oci(&tars));
    let flat = place.run(&["image", "rootfs"]);
    let stored = place.run(&["--store", "layers", "image"]);
    let shown = || -> Vec<Vec<_>> {
        layers.iter().map(|items| items.iter().map(Item::name).collect()).collect()
    };
    assert_eq!(flat.status, stored.status, "{seed}: {flat:?} {stored:?} {:?}", shown());
    if flat.status == Some(0) {
        let difference = difference(&place, &stored.stdout).unwrap();
        assert_eq!(difference, "", "{seed}: {:?}", shown());
    }
    flat
}

/// More of them with `PK_STACKS=2000`.
#[test]
fn any_stack_is_the_same_tree_as_layers_and_as_dir() {
    if !is_root() {
        return println!("SKIP mounting layers: not root");
    }
    let stacks = std::env::var("PK_STACKS").map_or(25, |text| text.parse().unwrap());
    let mut refused = 0;
    for seed in 1..=stacks {
        let mut dice = Dice(u64::wrapping_mul(seed, 0x9E37_79B9_7F4A_7C15));
        let mut layers: Vec<Vec<Item>> = (0..2 + dice.roll(4))
            .map(|_| (0..=dice.roll(9)).map(|_| dice.item()).collect())
            .collect();
        loop {
            let outcome = unpack(&layers, seed);
            if outcome.status == Some(0) {
                break;
            }
            // An entry that cannot be, such as a link to nothing: without it, then.
            refused += 1;
            let name = outcome.stderr.split('"').nth(1).unwrap();
            for items in &mut layers {
                items.retain(|item| item.name() != name);
            }
        }
    }
    println!("{stacks} stacks are the same, without {refused} entries that both refuse");
}

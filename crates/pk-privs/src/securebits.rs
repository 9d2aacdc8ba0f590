//! Whether being root means having capabilities. `capabilities(7)`, "The securebits flags".

use crate::capabilities::{Capabilities, no_setpcap};
use pk::{Error, Steps};
use rustix::thread::{
    CapabilitiesSecureBits as Bits, CapabilitySet, capabilities_secure_bits,
    set_capabilities_secure_bits,
};
use std::str::FromStr;

/// In the spelling of setpriv. `keep_caps` itself is not among them: an exec clears it.
const NAMES: [(&str, Bits); 7] = [
    ("noroot", Bits::NO_ROOT),
    ("noroot_locked", Bits::NO_ROOT_LOCKED),
    ("no_setuid_fixup", Bits::NO_SETUID_FIXUP),
    ("no_setuid_fixup_locked", Bits::NO_SETUID_FIXUP_LOCKED),
    ("keep_caps_locked", Bits::KEEP_CAPS_LOCKED),
    ("no_cap_ambient_raise", Bits::NO_CAP_AMBIENT_RAISE),
    ("no_cap_ambient_raise_locked", Bits::NO_CAP_AMBIENT_RAISE_LOCKED),
];

/// The names, for who asks what there is.
pub fn names() -> Vec<&'static str> {
    NAMES.map(|(name, _)| name).to_vec()
}

/// Those to be set beside what is set already.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Securebits(Bits);

impl FromStr for Securebits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bits = Bits::empty();
        for part in text.split(',') {
            let name = part.strip_prefix('+').unwrap_or(part);
            let known = NAMES.iter().find(|(other, _)| name == *other);
            bits |=
                known.ok_or_else(|| format!("{part:?} is not one of {}", names().join(", ")))?.1;
        }
        Ok(Self(bits))
    }
}

impl Securebits {
    pub fn add_step(self, capabilities: &Capabilities, steps: &mut Steps) {
        let set = NAMES.iter().filter(|(_, bit)| self.0.contains(*bit));
        let names: Vec<&str> = set.map(|(name, _)| *name).collect();
        let constant = |name: &&str| format!("SECBIT_{}", name.to_ascii_uppercase());
        let constants: Vec<String> = names.iter().map(constant).collect();
        steps.add(
            "while CAP_SETPCAP is there: what being root will mean to PROG",
            format!("prctl(PR_SET_SECUREBITS, prctl(PR_GET_SECUREBITS)|{})", constants.join("|")),
            self.shell(&names, capabilities),
            move |()| {
                let set = || set_capabilities_secure_bits(capabilities_secure_bits()? | self.0);
                set().map_err(|errno| Error::from(errno).hint(no_setpcap()))
            },
        );
    }

    /// A shell goes on with what it has to have after this. setpriv knows no bits that are younger
    /// than Linux 4.3.
    fn shell(self, names: &[&str], capabilities: &Capabilities) -> String {
        if !self.0.intersects(Bits::NO_CAP_AMBIENT_RAISE | Bits::NO_CAP_AMBIENT_RAISE_LOCKED) {
            let setpriv = capabilities.bounded();
            return format!("exec setpriv --securebits +{} {setpriv} sh", names.join(",+"));
        }
        let bits = capabilities_secure_bits().unwrap_or(Bits::empty()) | self.0;
        let (drop, setpriv) = (capabilities.dropped(), capabilities.kept(CapabilitySet::empty()));
        format!(
            "exec capsh {drop}--secbits={:#x} --shell=/bin/sh -- -c 'exec setpriv {setpriv} sh'",
            bits.bits()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_named_as_setpriv_names_them() {
        let noroot = Bits::NO_ROOT | Bits::NO_ROOT_LOCKED;
        assert_eq!("noroot,noroot_locked".parse(), Ok(Securebits(noroot)));
        assert_eq!("+noroot,+noroot_locked".parse(), Ok(Securebits(noroot)));
        for wrong in ["", "root", "noroot,", "-noroot", "keep_caps", "NOROOT"] {
            assert!(wrong.parse::<Securebits>().is_err(), "{wrong}");
        }
    }
}

//! Digests: every one that an image states is made here again.

pub use oci_spec::image::Digest;

use oci_spec::image::DigestAlgorithm;
use pk::{Error, Result};
use sha2::{Digest as _, Sha256, Sha512};

/// A digest in the making, with the algorithm of one that was stated.
pub enum Hash {
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Hash {
    /// Starts one to be compared with `stated`. The OCI image specification registers two
    /// algorithms.
    pub fn like(stated: &Digest) -> Result<Self> {
        match stated.algorithm() {
            DigestAlgorithm::Sha256 => Ok(Self::Sha256(Sha256::new())),
            DigestAlgorithm::Sha512 => Ok(Self::Sha512(Box::default())),
            _ => Err(Error::new(stated, "neither sha256 nor sha512")),
        }
    }

    /// Starts one that is compared with nothing.
    pub fn sha256() -> Self {
        Self::Sha256(Sha256::new())
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    /// Finishes, and compares; `what` was hashed.
    pub fn check(self, stated: &Digest, what: &str) -> Result<String> {
        let made = self.finish();
        if made == stated.as_ref() {
            return Ok(made);
        }
        Err(Error::new(what, format!("its digest is {made}, but the image states {stated}")))
    }

    /// The digest, as images are named by it.
    pub fn finish(self) -> String {
        match self {
            Self::Sha256(hash) => format!("sha256:{}", hex(&hash.finalize())),
            Self::Sha512(hash) => format!("sha512:{}", hex(&hash.finalize())),
        }
    }
}

/// The digest of `bytes`.
pub fn sha256(bytes: &[u8]) -> String {
    let mut hash = Hash::sha256();
    hash.update(bytes);
    hash.finish()
}

/// Checks a document that is in memory.
pub fn check(bytes: &[u8], stated: &Digest, what: &str) -> Result<()> {
    let mut hash = Hash::like(stated)?;
    hash.update(bytes);
    hash.check(stated, what).map(drop)
}

/// Reads a digest that stands at `place`.
pub fn parse(text: &str, place: &str) -> Result<Digest> {
    text.parse().map_err(|_| Error::new(place, format!("{text:?} is no digest")))
}

/// A digest as people say it: the first twelve letters.
pub fn short(digest: &Digest) -> &str {
    &digest.digest()[..digest.digest().len().min(12)]
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn digests_are_parsed() {
        let sha512 = format!("sha512:{}", "0".repeat(128));
        let table = [
            (EMPTY, true),
            (sha512.as_str(), true),
            (&EMPTY[..70], false),
            (&EMPTY[7..], false),
            ("sha256:", false),
            ("sha256:../../../../etc/passwd", false),
            ("", false),
        ];
        for (text, good) in table {
            assert_eq!(parse(text, "").is_ok(), good, "{text:?}");
        }
        assert!(parse(&EMPTY.to_uppercase(), "").is_err());
    }

    #[test]
    fn digests_are_compared() {
        let stated = parse(EMPTY, "").unwrap();
        assert!(check(b"", &stated, "").is_ok());
        assert!(check(b"x", &stated, "").is_err());
        assert!(Hash::like(&"md5:00".parse().unwrap()).is_err());
        assert_eq!((sha256(b"").as_str(), short(&stated)), (EMPTY, "e3b0c44298fc"));
    }
}

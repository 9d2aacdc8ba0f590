//! Compression, told by the bytes: what an image says of it is often wrong.

use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, Read};

/// How bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Compression {
    Plain,
    /// One gzip member or several. RFC 1952.
    Gzip,
    /// One zstd frame or several, skippable ones too. RFC 8878.
    Zstd,
}

impl Compression {
    /// Tells by the first four bytes.
    pub fn of(bytes: &[u8]) -> Self {
        match bytes {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// A reader of what `compressed` holds.
    pub fn decode<'a>(self, compressed: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::Plain => Box::new(compressed),
            Self::Gzip => Box::new(MultiGzDecoder::new(compressed)),
            Self::Zstd => Box::new(zstd::Decoder::with_buffer(compressed)?),
        })
    }

    /// The command that does the same, as a part of a pipeline.
    pub fn command(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip => " | zcat",
            Self::Zstd => " | zstdcat",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compression_is_told_by_the_bytes() {
        let table: [(&[u8], Compression); 7] = [
            (b"", Compression::Plain),
            (b"\x1f", Compression::Plain),
            (b"\x1f\x8b\x08\x00", Compression::Gzip),
            (b"\x28\xb5\x2f\xfd", Compression::Zstd),
            (b"\x50\x2a\x4d\x18", Compression::Zstd),
            (b"\x60\x2a\x4d\x18", Compression::Plain),
            (b"etc/", Compression::Plain),
        ];
        for (bytes, compression) in table {
            assert_eq!(Compression::of(bytes), compression, "{bytes:?}");
        }
    }
}

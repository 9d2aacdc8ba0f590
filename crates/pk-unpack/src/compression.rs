//! Compression, told by the bytes: what an image says of it is often wrong.

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;
use std::io::{self, BufRead, Read};

/// How bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Compression {
    Plain,
    /// One gzip member or several. RFC 1952.
    Gzip,
    /// One zstd frame or several, skippable ones too. RFC 8878.
    Zstd,
    /// One xz stream or several. The .xz File Format, version 1.2.1.
    Xz,
    /// One bzip2 stream or several.
    Bzip2,
}

/// KiB that an xz dictionary may take: `xz -9` asks for 64 MiB, the format allows 4 GiB. zstd's
/// library has a bound of 128 MiB, which is its own.
const MOST_XZ: u32 = 128 << 10;

impl Compression {
    /// Bytes that [`Self::of`] looks at.
    pub const TELLING: u64 = 10;

    /// Tells by the first bytes.
    pub fn of(bytes: &[u8]) -> Self {
        match bytes {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            // A block begins with pi, the end of an empty stream with its root. A tar could begin
            // with a name in BZh.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => {
                Self::Bzip2
            }
            _ => Self::Plain,
        }
    }

    /// A reader of what `compressed` holds.
    pub fn decode<'a>(
        self,
        compressed: impl BufRead + Send + 'a,
    ) -> io::Result<Box<dyn Read + Send + 'a>> {
        Ok(match self {
            Self::Plain => Box::new(compressed),
            Self::Gzip => Box::new(MultiGzDecoder::new(compressed)),
            Self::Zstd => Box::new(zstd::Decoder::with_buffer(compressed)?),
            Self::Xz => Box::new(XzReader::new_mem_limit(compressed, true, MOST_XZ)),
            Self::Bzip2 => Box::new(MultiBzDecoder::new(compressed)),
        })
    }

    /// The command that does the same, as a part of a pipeline.
    pub fn command(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip => " | zcat",
            Self::Zstd => " | zstdcat",
            Self::Xz => " | xzcat",
            Self::Bzip2 => " | bzcat",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compression_is_told_by_the_bytes() {
        let table: [(&[u8], Compression); 11] = [
            (b"", Compression::Plain),
            (b"\x1f", Compression::Plain),
            (b"\x1f\x8b\x08\x00", Compression::Gzip),
            (b"\x28\xb5\x2f\xfd", Compression::Zstd),
            (b"\x50\x2a\x4d\x18", Compression::Zstd),
            (b"\x60\x2a\x4d\x18", Compression::Plain),
            (b"\xfd7zXZ\0", Compression::Xz),
            (b"BZh91AY&SY", Compression::Bzip2),
            (b"BZh9\x17\x72\x45\x38\x50\x90", Compression::Bzip2),
            (b"BZh9.txt\0\0", Compression::Plain),
            (b"etc/", Compression::Plain),
        ];
        for (bytes, compression) in table {
            assert_eq!(Compression::of(bytes), compression, "{bytes:?}");
        }
    }
}

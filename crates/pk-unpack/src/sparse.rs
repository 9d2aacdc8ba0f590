//! Sparse members: where the stored bytes belong in the file. Four formats, one list.

use crate::metadata::number;
use crate::pax::{LISTS, Records, decimal, invalid};
use std::io;
use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

/// A piece of a file that is stored, which is never empty; between the pieces are holes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    pub offset: u64,
    pub length: u64,
}

/// More segments than any real file has: what bounds the memory that a list of them takes.
const MOST: usize = 1 << 17;

/// The list in an old GNU header and in the blocks that follow it, and the file's whole size.
pub fn of_gnu(
    header: &Header,
    mut next_block: impl FnMut() -> io::Result<[u8; 512]>,
) -> io::Result<(Vec<Segment>, u64)> {
    let gnu = header.as_gnu().ok_or_else(|| invalid("a sparse member without a GNU header"))?;
    let mut segments = Vec::new();
    let mut add = |list: &[GnuSparseHeader]| -> io::Result<()> {
        for segment in list.iter().filter(|segment| !segment.is_empty()) {
            let (offset, length) = (size(&segment.offset)?, size(&segment.numbytes)?);
            // A segment without length only marks the file's end.
            if length > 0 {
                segments.push(Segment { offset, length });
            }
        }
        if segments.len() > MOST { Err(invalid("too many sparse segments")) } else { Ok(()) }
    };
    add(&gnu.sparse)?;
    let mut extended = gnu.is_extended();
    while extended {
        let mut block = GnuExtSparseHeader::new();
        block.as_mut_bytes().copy_from_slice(&next_block()?);
        add(block.sparse())?;
        extended = block.is_extended();
    }
    Ok((segments, size(&gnu.realsize)?))
}

/// A number of bytes in a header.
pub fn size(field: &[u8]) -> io::Result<u64> {
    u64::try_from(number(field)?).map_err(|_| invalid("a negative size"))
}

/// The list in PAX records, and the file's whole size: GNU tar's formats 0.0 and 0.1 (in the
/// records) and 1.0 (at the start of the data, which `next_block` reads).
pub fn of_pax(
    records: &Records,
    next_block: impl FnMut() -> io::Result<[u8; 512]>,
) -> io::Result<Option<(Vec<Segment>, u64)>> {
    let major = records.number("GNU.sparse.major")?;
    let minor = records.number("GNU.sparse.minor")?;
    let size = match records.number("GNU.sparse.realsize")? {
        Some(size) => Some(size),
        None => records.number("GNU.sparse.size")?,
    };
    let numbers = match (major, minor, size) {
        (None, None, None) => return Ok(None),
        (Some(1), Some(0), Some(_)) => numbers_before_data(next_block)?,
        (None | Some(0), _, Some(_)) => numbers_in_records(records)?,
        _ => return Err(invalid("unknown sparse format")),
    };
    let pairs = numbers.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(invalid("malformed sparse map"));
    }
    let segments = pairs.map(|pair| Segment { offset: pair[0], length: pair[1] });
    let segments = segments.filter(|segment| segment.length > 0).collect();
    Ok(size.map(|size| (segments, size)))
}

fn numbers_in_records(records: &Records) -> io::Result<Vec<u64>> {
    if let Some(map) = records.get(b"GNU.sparse.map") {
        return map.split(|&byte| byte == b',').map(|n| decimal(n, "GNU.sparse.map")).collect();
    }
    let listed = records.iter().filter(|(key, _)| LISTS.contains(key));
    let in_turn = listed.zip(LISTS.iter().cycle());
    in_turn
        .map(|((key, value), expected)| {
            if key == *expected {
                decimal(value, "GNU.sparse")
            } else {
                Err(invalid("malformed sparse map"))
            }
        })
        .collect()
}

/// `COUNT\n` and then `OFFSET\nLENGTH\n` for each segment, filled up to whole blocks.
fn numbers_before_data(
    mut next_block: impl FnMut() -> io::Result<[u8; 512]>,
) -> io::Result<Vec<u64>> {
    let (mut numbers, mut text, mut wanted) = (Vec::new(), Vec::new(), None);
    while wanted.is_none_or(|wanted| numbers.len() < wanted) {
        for byte in next_block()? {
            match byte {
                b'\n' if wanted.is_none() => {
                    let count = usize::try_from(decimal(&text, "the sparse map's count")?);
                    let count = count.ok().filter(|&count| count <= MOST);
                    let count = count.ok_or_else(|| invalid("too many sparse segments"))?;
                    wanted = Some(count * 2);
                    text.clear();
                }
                b'\n' if wanted.is_some_and(|wanted| numbers.len() < wanted) => {
                    numbers.push(decimal(&text, "the sparse map")?);
                    text.clear();
                }
                _ if wanted.is_some_and(|wanted| numbers.len() == wanted) => break,
                _ if text.len() > 20 => return Err(invalid("malformed sparse map")),
                _ => text.push(byte),
            }
        }
    }
    Ok(numbers)
}

/// Checks that segments lie in order inside the file and are as long as what is stored.
pub fn check(segments: &[Segment], size: u64, stored: u64) -> io::Result<()> {
    let mut end = 0;
    let mut total = 0_u64;
    for segment in segments {
        if segment.offset < end {
            return Err(invalid("sparse segments overlap"));
        }
        end = segment.offset.checked_add(segment.length).ok_or_else(|| invalid("size overflow"))?;
        total += segment.length;
    }
    if end > size || total != stored {
        return Err(invalid("sparse segments do not fit the size"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_before_the_data_may_fill_several_blocks() {
        let map: Vec<_> = (0..100).map(|n| format!("{}\n10\n", n * 1000)).collect();
        let mut text = format!("100\n{}", map.concat()).into_bytes();
        text.resize(text.len().next_multiple_of(512), 0);
        let mut blocks = text.chunks_exact(512);
        let numbers =
            numbers_before_data(|| Ok(blocks.next().unwrap().try_into().unwrap())).unwrap();
        assert_eq!((numbers.len(), numbers[198], numbers[199]), (200, 99_000, 10));
        assert!(blocks.next().is_none());
    }

    #[test]
    fn maps_in_records() {
        let table: [(&[u8], Option<&[u64]>); 4] = [
            (b"26 GNU.sparse.map=1,2,3,4\n", Some(&[1, 2, 3, 4])),
            (b"23 GNU.sparse.offset=1\n25 GNU.sparse.numbytes=2\n", Some(&[1, 2])),
            (b"25 GNU.sparse.numbytes=2\n23 GNU.sparse.offset=1\n", None),
            (b"26 GNU.sparse.map=1,x,3,4\n", None),
        ];
        for (bytes, expected) in table {
            let numbers = Records::parse(bytes).and_then(|records| numbers_in_records(&records));
            assert_eq!(numbers.ok().as_deref(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn segments_lie_in_order_inside_the_file() {
        let segments = |list: &[(u64, u64)]| -> Vec<Segment> {
            list.iter().map(|&(offset, length)| Segment { offset, length }).collect()
        };
        assert!(check(&segments(&[(0, 5), (10, 5)]), 20, 10).is_ok());
        for (list, size, stored) in [
            (segments(&[(10, 5), (0, 5)]), 20, 10),
            (segments(&[(0, 5), (4, 5)]), 20, 10),
            (segments(&[(0, 5), (16, 5)]), 20, 10),
            (segments(&[(0, 5)]), 20, 10),
            (segments(&[(u64::MAX, 5)]), 20, 5),
        ] {
            assert!(check(&list, size, stored).is_err(), "{list:?}");
        }
    }
}

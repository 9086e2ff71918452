//! Updates that come as a file: an update bundle, or an install file with its payloads (`manifests/INSTALL-FILE.md`).
//! Payloads are neither read into memory nor trusted: they are found by their hash.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use sealift_manifests::bounds::{MAX_BUNDLE, MAX_IMAGE};
use sealift_manifests::{Digest, Payload, Target, install_file};
use sha2::{Digest as _, Sha256};

use crate::agent::install::PayloadSource;
use crate::error::{Error, Result};

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;
/// Most payloads of one file: those of one target, and one of each base a fleet may run.
const MOST_PAYLOADS: usize = 256;

/// Bytes of a file.
#[derive(Clone, Copy, Debug)]
struct Extent {
    offset: u64,
    length: u32,
}

/// A file with a bundle, opened.
#[derive(Debug)]
pub struct Container {
    path: PathBuf,
    file: File,
    bundle: Vec<u8>,
    extents: Vec<Extent>,
}

impl Container {
    /// Opens a file and finds its parts.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::file("open", path))?;
        let length = file.metadata().map_err(Error::file("measure", path))?.len();
        let malformed = |problem: String| Error::Input { path: path.into(), problem };
        if length == 0 {
            return Err(malformed("it is empty; export it again with `sealift bundle export`".into()));
        }
        let mut head = vec![0; usize::try_from(length.min(MAX_BUNDLE as u64)).unwrap_or(MAX_BUNDLE)];
        file.read_exact_at(&mut head, 0).map_err(Error::file("read", path))?;
        let (bundle, _) = install_file::split(&head).map_err(|error| {
            malformed(format!("not an update bundle: {error}; export it again with `sealift bundle export`"))
        })?;
        let bundle = bundle.to_vec();
        let mut at = bundle.len() as u64;
        let mut extents = Vec::new();
        while at < length {
            let (offset, size) =
                payload_head(&file, at, length).map_err(|problem| malformed(format!("at byte {at}: {problem}")))?;
            if extents.len() == MOST_PAYLOADS {
                return Err(malformed(format!("more than {MOST_PAYLOADS} payloads")));
            }
            extents.push(Extent { offset, length: size });
            at = offset + u64::from(size);
        }
        Ok(Container { path: path.into(), file, bundle, extents })
    }

    /// The bundle.
    pub fn bundle(&self) -> &[u8] {
        &self.bundle
    }

    /// Finds the payloads of a target: the entries of this file, and `extra` files that hold one payload each.
    pub fn source(&self, target: &Target<'_>, extra: &[PathBuf]) -> Result<FileSource> {
        let mut places = Vec::new();
        for extent in &self.extents {
            let file = self.file.try_clone().map_err(Error::file("open", &self.path))?;
            places.push(Place { path: self.path.clone(), file, extent: *extent });
        }
        for path in extra {
            let file = File::open(path).map_err(Error::file("open", path))?;
            let length = file.metadata().map_err(Error::file("measure", path))?.len();
            let length = u32::try_from(length)
                .map_err(|_| Error::Input { path: path.clone(), problem: "no payload is larger than 4 GiB".into() })?;
            places.push(Place { path: path.clone(), file, extent: Extent { offset: 0, length } });
        }
        let mut found = BTreeMap::new();
        for place in places {
            // Hashed only when a payload of that length is listed at all.
            if target.payloads.iter().any(|payload| payload.length == place.extent.length) {
                found.insert(place.digest()?.0, place);
            }
        }
        Ok(FileSource { found, reading: None })
    }
}

/// The head of a byte string: where its content starts, and how long it is.
fn payload_head(file: &File, at: u64, end: u64) -> std::result::Result<(u64, u32), String> {
    let mut head = [0; 5];
    let available = usize::try_from((end - at).min(5)).unwrap_or(0);
    let read = head.get_mut(..available).map(|room| file.read_exact_at(room, at));
    if !matches!(read, Some(Ok(()))) {
        return Err("it can't be read".into());
    }
    let [initial, a, b, c, d] = head;
    let (skip, length, least) = match initial {
        0x40..=0x57 => (1, u32::from(initial - 0x40), 0),
        0x58 => (2, u32::from(a), 24),
        0x59 => (3, u32::from(u16::from_be_bytes([a, b])), 1 << 8),
        0x5a => (5, u32::from_be_bytes([a, b, c, d]), 1 << 16),
        _ => return Err("neither a role file nor a payload".into()),
    };
    let start = at + skip;
    if skip > end - at || start + u64::from(length) > end {
        return Err("the file ends inside a payload: it is truncated".into());
    }
    if length < least || u64::from(length) > MAX_IMAGE {
        return Err("a length that isn't in its shortest form".into());
    }
    Ok((start, length))
}

/// One payload in a file.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    file: File,
    extent: Extent,
}

impl Place {
    fn read(&self, at: u32) -> Result<Option<Vec<u8>>> {
        let left = self.extent.length.saturating_sub(at) as usize;
        if left == 0 {
            return Ok(None);
        }
        let mut chunk = vec![0; left.min(CHUNK)];
        let offset = self.extent.offset + u64::from(at);
        self.file.read_exact_at(&mut chunk, offset).map_err(Error::file("read", &self.path))?;
        Ok(Some(chunk))
    }

    fn digest(&self) -> Result<Digest> {
        let mut hash = Sha256::new();
        let mut at = 0;
        while let Some(chunk) = self.read(at)? {
            hash.update(&chunk);
            at += chunk.len() as u32;
        }
        Ok(Digest(hash.finalize().into()))
    }
}

/// Payloads out of files.
#[derive(Debug)]
pub struct FileSource {
    found: BTreeMap<[u8; 32], Place>,
    reading: Option<([u8; 32], u32)>,
}

impl PayloadSource for FileSource {
    async fn start(&mut self, payload: &Payload, offset: u32, _: u32) -> Result<()> {
        self.reading = Some((payload.digest.0, offset));
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let Some((digest, at)) = &mut self.reading else { return Ok(None) };
        let Some(place) = self.found.get(digest) else { return Ok(None) };
        let chunk = place.read(*at)?;
        *at += chunk.as_ref().map_or(0, |chunk| chunk.len() as u32);
        Ok(chunk)
    }

    fn has(&self, payload: &Payload) -> bool {
        self.found.contains_key(&payload.digest.0)
    }
}

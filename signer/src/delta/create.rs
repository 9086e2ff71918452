//! From two images to a patch.

use sealift_manifests::delta_format::{HEADER_LEN, Header, READ_BACK_MARGIN, RamClass, STREAMS, field};
use sha2::{Digest, Sha256};

use super::{
    Costs, CreateError, apply,
    compress::{self, blocks},
    matcher::{Index, Op, parse},
    predicted::Prediction,
    serial,
};

/// Longest image (1 GiB): diagonals between two of them fit 31 bits.
const LONGEST: usize = 1 << 30;

/// How a delta is made.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// RAM class the patch must fit.
    pub ram: RamClass,
    /// Bytes of patch after which a device can resume (decoding restarts there, which costs some 100 to 300 bytes each).
    pub resume_interval: u32,
    /// Whether the patch may copy from the target; the device's slot must then be readable while it is written.
    pub read_back: bool,
    /// Whether address fields are predicted.
    pub predict: bool,
    /// zstd level of the streams.
    pub level: i32,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self { ram: RamClass::Ram24K, resume_interval: 32 * 1024, read_back: true, predict: true, level: 22 }
    }
}

/// A delta that was made, decoded again and found right.
#[derive(Clone, Debug)]
pub struct Created {
    /// The file.
    pub patch: Vec<u8>,
    /// Its header.
    pub header: Header,
    /// Operations in the body.
    pub operations: usize,
    /// Sections, each a place to resume from.
    pub sections: usize,
}

/// Windows of the four streams in each class.
fn window_logs(ram: RamClass) -> [u8; STREAMS] {
    match ram {
        RamClass::Ram16K => [10, 10, 10, 11],
        RamClass::Ram24K => [11, 11, 11, 12],
        RamClass::Ram64K => [13, 13, 13, 13],
        RamClass::Host => [18, 18, 18, 19],
    }
}

/// Makes a delta from `base` to `target`.
///
/// # Errors
/// [`CreateError`]; a patch that does not decode to the target is never returned.
pub fn create(base: &[u8], target: &[u8], options: &CreateOptions) -> Result<Created, CreateError> {
    for (which, image) in [("base", base), ("target", target)] {
        if image.len() > LONGEST {
            return Err(CreateError::TooLong(which, image.len()));
        }
    }
    let mut prediction = Prediction::none();
    if options.read_back {
        prediction.fields |= field::READ_BACK;
    }
    let index = Index::new(base);
    let ops = parse(&index, target, &Costs::default(), options.read_back, READ_BACK_MARGIN);
    let created = assemble(base, target, &ops, &prediction, options)?;
    verify(base, target, &created)?;
    Ok(created)
}

/// Puts a patch together.
fn assemble(
    base: &[u8],
    target: &[u8],
    ops: &[Op],
    prediction: &Prediction,
    options: &CreateOptions,
) -> Result<Created, CreateError> {
    let logs = window_logs(options.ram);
    let predicted = prediction.predict(ops, base, target);
    let difference = difference(ops, &predicted, target);
    let mut header = Header {
        ram: options.ram,
        arch: prediction.arch,
        fields: prediction.fields,
        base_len: base.len() as u32,
        target_len: target.len() as u32,
        base_sha256: Sha256::digest(base).into(),
        target_sha256: Sha256::digest(target).into(),
        window_logs: logs,
        shifts: prediction.map.keys.len() as u16,
        regions: prediction.map.regions.len() as u8,
        body: 0,
    };
    let mut patch = vec![0; HEADER_LEN];
    for block in blocks(&prediction.map.to_bytes(), logs[serial::CONTROL], options.level)? {
        patch.extend_from_slice(block.bytes());
    }
    header.body = patch.len() as u32;
    patch[..HEADER_LEN].copy_from_slice(&header.to_bytes());

    let mut sections = 0;
    if !target.is_empty() {
        let whole = serial::section(ops, 0, target, &difference);
        let body = compress::section(&whole, &logs, options.level)?;
        let count = (body.len() as u32 / options.resume_interval.max(1024)).max(1);
        sections = count as usize;
        if count == 1 {
            patch.extend_from_slice(&body);
        } else {
            sections = 0;
            let mut start = 0;
            for part in split(ops, &whole, count) {
                let section = serial::section(&part, start, target, &difference);
                start += section.len;
                patch.extend_from_slice(&compress::section(&section, &logs, options.level)?);
                sections += 1;
            }
        }
    }
    Ok(Created { patch, header, operations: ops.len(), sections })
}

/// What corrections add to the predicted bytes of copies.
fn difference(ops: &[Op], predicted: &[u8], target: &[u8]) -> Vec<u8> {
    let mut difference = vec![0; target.len()];
    let mut at = 0;
    for op in ops {
        at += op.literals as usize;
        for place in at..at + op.copy as usize {
            difference[place] = target[place].wrapping_sub(predicted[place]);
        }
        at += op.copy as usize;
    }
    difference
}

/// Cuts operations into `count` parts that cost about the same.
fn split(ops: &[Op], whole: &serial::Section, count: u32) -> Vec<Vec<Op>> {
    let total = whole.raw_len() as u64;
    // An operation's cost is not known by itself; literals and operations stand for it, copies for their share of corrections.
    let copied: u64 = ops.iter().map(|op| u64::from(op.copy)).sum::<u64>().max(1);
    let corrections = (whole.streams[serial::RUNS].len() + whole.streams[serial::DIFF].len()) as u64;
    let mut parts = vec![Vec::new()];
    let mut cost = 0;
    for op in ops {
        if cost * u64::from(count) >= total * parts.len() as u64 && parts.len() < count as usize {
            parts.push(Vec::new());
        }
        cost += u64::from(op.literals) + 5 + u64::from(op.copy) * corrections / copied;
        if let Some(part) = parts.last_mut() {
            part.push(*op);
        }
    }
    parts
}

/// Decodes the patch and compares.
fn verify(base: &[u8], target: &[u8], created: &Created) -> Result<(), CreateError> {
    let decoded = apply::decode(base, &created.patch, &created.header);
    match decoded {
        Ok(decoded) if decoded == target => Ok(()),
        Ok(decoded) => {
            let at = decoded.iter().zip(target).take_while(|(a, b)| a == b).count();
            Err(CreateError::Internal(format!("first wrong byte at {at}")))
        }
        Err(error) => Err(CreateError::Internal(error.to_string())),
    }
}

//! From two images to a patch.

use sealift_manifests::delta_format::{
    Arch, HEADER_LEN, Header, MAX_REGIONS, READ_BACK_MARGIN, RamClass, STREAMS, field, stream,
};

use super::{
    Costs, CreateError, apply, beside,
    compress::{self, blocks},
    detect::candidates,
    facts::Facts,
    hint::Hints,
    index::Index,
    kinds,
    matcher::{Op, Rules, parse},
    over,
    pointers::{has_distances, with_pointers},
    predicted::{Prediction, View},
    serial, shifts,
};

/// Longest pair of images: base and twice the target together. Diagonals then fit the format's 30 bits.
const LONGEST: usize = 1 << 29;
/// Images that have up to this many bytes together are matched with two predictions at a time, and compressed for two classes.
const PARALLEL: usize = 8 << 20;
/// Images that have more bytes than this together are not tried as one frame: the reference compressor would take some 20 bytes of memory
/// for each byte of them, and minutes.
const UNLIKE: usize = 16 << 20;

/// Which predictions are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predict {
    /// None: plain copies and corrections.
    Off,
    /// The likeliest one.
    Likeliest,
    /// All that the images suggest, and none; the smallest patch wins.
    All,
}

/// How a delta is made.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// RAM class the patch must fit.
    pub ram: RamClass,
    /// Bytes of patch after which a device can resume (decoding restarts there, which costs some 200 to 500 bytes each).
    pub resume_interval: u32,
    /// Whether the patch may copy from the target; the device's slot must then be readable while it is written.
    pub read_back: bool,
    /// Which address predictions are tried.
    pub predict: Predict,
    /// What is known of the base and of the target (from ELF files); guessed when missing.
    pub hints: Hints,
    /// Whether the sizes in the other RAM classes are found out, too.
    pub class_sizes: bool,
    /// zstd level of the streams.
    pub level: i32,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            ram: RamClass::Ram24K,
            resume_interval: 32 * 1024,
            read_back: true,
            predict: Predict::All,
            hints: Hints::default(),
            class_sizes: false,
            level: 22,
        }
    }
}

/// A prediction that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Instruction set.
    pub arch: Arch,
    /// Bits of [`field`].
    pub fields: u8,
    /// Address of the image's first byte, as far as it is known.
    pub load_address: u64,
    /// Length of the patch.
    pub len: usize,
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
    /// What was tried, in this order.
    pub tried: Vec<Tried>,
    /// Length of the patch in each class, if asked for.
    pub class_sizes: Vec<(RamClass, usize)>,
    /// Length of the target compressed by itself for the same decoder, at a quick look: more than what a release would carry.
    pub full_at_most: usize,
}

/// A patch, and what it was made of.
struct Attempt {
    created: Created,
    ops: Vec<Op>,
    prediction: Prediction,
}

/// Lengths of a delta by class.
type Sizes = Vec<(RamClass, usize)>;

/// What a delta would be in a class: its length, and the body of one frame that has it.
struct InClass {
    len: usize,
    over: Option<Created>,
}

/// The smallest of some attempts, with everything that was tried.
fn smallest(attempts: impl IntoIterator<Item = Result<Attempt, CreateError>>) -> Result<Attempt, CreateError> {
    let mut best: Option<Attempt> = None;
    let mut tried = Vec::new();
    for attempt in attempts {
        let mut attempt = attempt?;
        tried.append(&mut attempt.created.tried);
        if best.as_ref().is_none_or(|best| attempt.created.patch.len() < best.created.patch.len()) {
            best = Some(attempt);
        }
    }
    let mut best = best.ok_or_else(|| CreateError::Internal("nothing was tried".into()))?;
    best.created.tried = tried;
    Ok(best)
}

/// Windows of the streams in each class.
fn window_logs(ram: RamClass) -> [u8; STREAMS] {
    match ram {
        RamClass::Ram16K => [10; STREAMS],
        RamClass::Ram24K => [10, 10, 10, 11, 11, 11, 11],
        RamClass::Ram64K => [12, 12, 12, 12, 13, 13, 13],
        RamClass::Host => [17, 17, 17, 17, 17, 17, 19],
    }
}

/// Two images, and what is done with them.
struct Job<'a> {
    base: &'a [u8],
    target: &'a [u8],
    options: &'a CreateOptions,
    costs: Costs,
    facts: &'a Facts<'a>,
    watch: &'a dyn Watch,
}

/// Is told how a delta gets on, in bytes of image that are matched. Several threads may tell.
pub trait Watch: Sync {
    /// So many bytes more are to be matched: known step by step, since each prediction may suggest others.
    fn expect(&self, bytes: u64);
    /// So many of them are.
    fn matched(&self, bytes: u64);
}

/// Nobody watches.
impl Watch for () {
    fn expect(&self, _: u64) {}
    fn matched(&self, _: u64) {}
}

/// Makes a delta from `base` to `target`.
///
/// Memory besides the two images: 4 bytes a byte of base and 2 a byte of image for matching, and one or two for the result. Images
/// that have 8 MiB or less together are matched on two threads, with twice that. A target of more than 1 MiB is parsed in four
/// parts against one index, on two threads where one attempt is made at a time; that takes 256 KiB more. The result does not depend
/// on the number of processors. Where images of up to 16 MiB together have little in common, the reference compressor takes another 20 to
/// 25 bytes for each byte of them (twice that for up to 8 MiB, where the sizes in other classes are asked for).
///
/// # Errors
/// [`CreateError`]; a patch that does not decode to the target is never returned.
pub fn create(base: &[u8], target: &[u8], options: &CreateOptions) -> Result<Created, CreateError> {
    create_watched(base, target, options, &())
}

/// [`create`], with somebody who is told how far it is.
///
/// # Errors
/// As [`create`].
pub fn create_watched(
    base: &[u8],
    target: &[u8],
    options: &CreateOptions,
    watch: &dyn Watch,
) -> Result<Created, CreateError> {
    if base.len() + 2 * target.len() >= LONGEST {
        return Err(CreateError::TooLong { base: base.len(), target: target.len() });
    }
    let facts = &Facts::new(base, target, options.ram);
    let job = Job { base, target, options, costs: Costs::default(), facts, watch };
    // The index, with which matching begins, leaves a processor free.
    beside::both(|| facts.find(), || job.make()).1
}

impl Job<'_> {
    fn make(&self) -> Result<Created, CreateError> {
        let Self { base, target, options, .. } = *self;
        let mut best = match options.predict {
            Predict::Off => self.plain()?,
            Predict::Likeliest => match candidates(base, target, &options.hints).into_iter().next() {
                Some(prediction) => self.predicted(prediction, false)?,
                None => self.plain()?,
            },
            Predict::All => self.all()?,
        };
        let (class_sizes, over) = self.in_classes(&best)?;
        if let Some(over) = over {
            let tried = [std::mem::take(&mut best.created.tried), over.tried].concat();
            best.created = Created { tried, ..over };
        }
        verify(base, target, &best.created)?;
        Ok(Created { class_sizes, ..best.created })
    }

    fn all(&self) -> Result<Attempt, CreateError> {
        let predictions = candidates(self.base, self.target, &self.options.hints);
        let attempt = |place: usize| match place.checked_sub(1) {
            None => self.plain(),
            Some(place) => self.predicted(predictions[place].clone(), true),
        };
        let count = predictions.len() + 1;
        if self.alone() {
            return smallest((0..count).map(attempt));
        }
        // The likeliest prediction takes longest and goes first; results keep the order of attempts.
        let mut attempts = beside::each(count, |turn| attempt((turn + 1) % count));
        attempts.rotate_right(1);
        smallest(attempts)
    }

    /// The body of one frame, where it is smaller than `len` by more than it costs a device. It is not made for images that have most
    /// of their bytes in common.
    fn over(&self, ram: RamClass, len: usize) -> Result<Option<Created>, CreateError> {
        let options = self.options;
        if !options.read_back || self.base.len() + self.target.len() > UNLIKE || len * 2 < self.facts.full_at_most()? {
            return Ok(None);
        }
        let header = self.header(ram, &Prediction::none())?;
        let over = over::over(self.base, self.target, ram, options.resume_interval, options.level, &header)?;
        let over::Over { patch, header, sections } = over;
        // A few bytes less are no reason to ask for a slot that can be read back, and for larger sections.
        let smaller = patch.len() < len - len / 256;
        let tried = vec![Tried { arch: header.arch, fields: header.fields, load_address: 0, len: patch.len() }];
        let created = Created {
            patch,
            header,
            operations: 0,
            sections,
            tried,
            class_sizes: Vec::new(),
            full_at_most: self.facts.full_at_most()?,
        };
        Ok(smaller.then_some(created))
    }

    /// Length of an attempt's patch, or of a body of one frame where that is smaller, in each class that is asked for; and that body
    /// for the own class.
    fn in_classes(&self, attempt: &Attempt) -> Result<(Sizes, Option<Created>), CreateError> {
        if !self.options.class_sizes {
            return Ok((Vec::new(), self.in_class(self.options.ram, attempt)?.over));
        }
        let in_class = |place: usize| self.in_class(RamClass::ALL[place], attempt);
        let count = RamClass::ALL.len();
        let found = if self.is_small() { beside::each(count, in_class) } else { (0..count).map(in_class).collect() };
        let (mut sizes, mut own) = (Vec::new(), None);
        for (ram, found) in RamClass::ALL.into_iter().zip(found) {
            let InClass { len, over } = found?;
            sizes.push((ram, len));
            if ram == self.options.ram {
                own = over;
            }
        }
        Ok((sizes, own))
    }

    /// An attempt's patch in a class, or a body of one frame where that is smaller.
    fn in_class(&self, ram: RamClass, attempt: &Attempt) -> Result<InClass, CreateError> {
        let len = if ram == self.options.ram { attempt.created.patch.len() } else { self.len_in(ram, attempt)? };
        let over = self.over(ram, len)?;
        Ok(InClass { len: over.as_ref().map_or(len, |over| over.patch.len()), over })
    }

    /// A header of these images, without what only a body has.
    fn header(&self, ram: RamClass, prediction: &Prediction) -> Result<Header, CreateError> {
        let (base_sha256, target_sha256) = self.facts.digests()?;
        Ok(Header {
            ram,
            arch: prediction.arch,
            fields: prediction.fields,
            base_len: self.base.len() as u32,
            target_len: self.target.len() as u32,
            base_sha256,
            target_sha256,
            window_logs: window_logs(ram),
            shifts: prediction.map.keys.len() as u16,
            block: 0,
            regions: prediction.map.regions.len() as u8,
            body: 0,
        })
    }

    /// Length of an attempt's patch in another class.
    fn len_in(&self, ram: RamClass, attempt: &Attempt) -> Result<usize, CreateError> {
        let options = CreateOptions { ram, ..self.options.clone() };
        let job = Job { options: &options, costs: self.costs.clone(), ..*self };
        Ok(job.with_table(attempt.prediction.clone(), attempt.ops.clone())?.created.patch.len())
    }

    /// Whether there is memory to do two things with the images at a time.
    fn is_small(&self) -> bool {
        self.base.len() + self.target.len() <= PARALLEL
    }

    /// Whether one attempt is made at a time.
    fn alone(&self) -> bool {
        self.options.predict != Predict::All || !self.is_small()
    }

    fn read_back(&self) -> u8 {
        if self.options.read_back { field::READ_BACK } else { 0 }
    }

    fn parse(&self, base: &[u8], target: &[u8]) -> Vec<Op> {
        self.watch.expect(target.len() as u64);
        let Self { options, costs, .. } = self;
        let rules = Rules { costs, read_back: options.read_back, margin: READ_BACK_MARGIN, beside: self.alone() };
        parse(&Index::new(base), target, rules, self.watch)
    }

    /// A patch without prediction.
    fn plain(&self) -> Result<Attempt, CreateError> {
        let mut prediction = Prediction::none();
        prediction.fields |= self.read_back();
        let ops = self.parse(self.base, self.target);
        self.assemble(ops, prediction)
    }

    /// The images as a prediction sees them, matched.
    fn matched(&self, prediction: &Prediction, of_base: View, of_target: View) -> Vec<Op> {
        let base = prediction.view(self.base, false, of_base);
        let target = prediction.view(self.target, true, of_target);
        self.parse(&base, &target)
    }

    /// A patch with this prediction: match images with all fields blanked, learn where things went, match again with fields shown
    /// by where they go. Unless `all` pointers are to be tried, those that most words look like are.
    fn predicted(&self, mut prediction: Prediction, all: bool) -> Result<Attempt, CreateError> {
        prediction.fields |= self.read_back();
        let ops = self.matched(&prediction, View::Blank, View::Blank);
        let mut choices = with_pointers(&prediction, &ops, self.base, self.target);
        if choices.is_empty() || all {
            choices.push(prediction);
        }
        if !all {
            choices.truncate(1);
        }
        smallest(choices.into_iter().map(|prediction| self.refined(prediction, &ops)))
    }

    /// A patch with this prediction, given a first matching.
    fn refined(&self, mut prediction: Prediction, ops: &[Op]) -> Result<Attempt, CreateError> {
        let (base, target) = (self.base, self.target);
        // For matching, every hint is free.
        let samples = shifts::samples(&prediction, ops, base, target, true);
        shifts::table(&samples, usize::MAX, 1.5, &mut prediction.map);
        kinds::split(&mut prediction, ops, base, target);
        let ops = self.matched(&prediction, View::Moved, View::Plain);
        if !has_distances(&ops, base, target) {
            return self.with_table(prediction, ops);
        }
        // Distances look like any small number, so that they may well do harm.
        let with = Prediction { fields: prediction.fields | field::RELATIVE32, ..prediction.clone() };
        smallest([self.with_table(prediction, ops.clone()), self.with_table(with, ops)])
    }

    /// A patch of these operations, with a shift table of the class's size.
    fn with_table(&self, mut prediction: Prediction, ops: Vec<Op>) -> Result<Attempt, CreateError> {
        let samples = shifts::samples(&prediction, &ops, self.base, self.target, false);
        let most = usize::from(self.options.ram.limits().shifts);
        shifts::table(&samples, most, 1.6, &mut prediction.map);
        self.assemble(ops, prediction)
    }

    /// Puts a patch together.
    fn assemble(&self, ops: Vec<Op>, mut prediction: Prediction) -> Result<Attempt, CreateError> {
        let (base, target, options) = (self.base, self.target, self.options);
        // A slot that can't be read back takes a delta that has no use for it.
        if !ops.iter().any(|op| op.copy > 0 && op.source as usize >= base.len()) {
            prediction.fields &= !field::READ_BACK;
        }
        let mut difference = prediction.predict(&ops, base, target);
        subtract(&ops, &mut difference, target);
        debug_assert!(prediction.map.regions.len() <= MAX_REGIONS);
        let mut header = self.header(options.ram, &prediction)?;
        let logs = header.window_logs;
        let mut patch = vec![0; HEADER_LEN];
        for block in blocks(&prediction.map.to_bytes(), logs[stream::LITERAL], options.level)? {
            patch.extend_from_slice(block.bytes());
        }
        header.body = patch.len() as u32;
        patch[..HEADER_LEN].copy_from_slice(&header.to_bytes());

        let mut sections = 0;
        if !target.is_empty() {
            let whole = serial::section(&ops, 0, target, &difference);
            let body = compress::section(&whole, &logs, options.level, self.alone())?;
            let count = (body.len() as u32 / options.resume_interval.max(1024)).max(1);
            sections = 1;
            if count == 1 {
                patch.extend_from_slice(&body);
            } else {
                sections = 0;
                let mut start = 0;
                for part in split(&ops, &whole, count) {
                    let section = serial::section(&part, start, target, &difference);
                    start += section.len;
                    patch.extend_from_slice(&compress::section(&section, &logs, options.level, self.alone())?);
                    sections += 1;
                }
            }
        }
        let tried = Tried {
            arch: prediction.arch,
            fields: prediction.fields,
            load_address: prediction.load_address(),
            len: patch.len(),
        };
        let created = Created {
            patch,
            header,
            operations: ops.len(),
            sections,
            tried: vec![tried],
            class_sizes: Vec::new(),
            full_at_most: self.facts.full_at_most()?,
        };
        Ok(Attempt { created, ops, prediction })
    }
}

/// Turns predicted bytes of copies into what corrections add to them.
fn subtract(ops: &[Op], predicted: &mut [u8], target: &[u8]) {
    let mut at = 0;
    for op in ops {
        at += op.literals as usize;
        let end = at + op.copy as usize;
        for (predicted, byte) in predicted[at..end].iter_mut().zip(&target[at..end]) {
            *predicted = byte.wrapping_sub(*predicted);
        }
        at = end;
    }
}

/// Cuts operations into `count` parts that cost about the same.
fn split(ops: &[Op], whole: &serial::Section, count: u32) -> Vec<Vec<Op>> {
    let total = whole.raw_len() as u64;
    // An operation's cost is not known by itself; literals and operations stand for it, copies for their share of corrections.
    let copied: u64 = ops.iter().map(|op| u64::from(op.copy)).sum::<u64>().max(1);
    let corrections = (whole.streams[stream::RUN].len() + whole.streams[stream::DIFFERENCE].len()) as u64;
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
    parts.retain(|part| !part.is_empty());
    parts
}

/// Decodes the patch and compares.
fn verify(base: &[u8], target: &[u8], created: &Created) -> Result<(), CreateError> {
    match apply::decode(base, &created.patch, &created.header) {
        Ok(decoded) if decoded == target => Ok(()),
        Ok(decoded) => {
            let at = decoded.iter().zip(target).take_while(|(a, b)| a == b).count();
            Err(CreateError::Internal(format!("first wrong byte at {at}")))
        }
        Err(error) => Err(CreateError::Internal(error.to_string())),
    }
}

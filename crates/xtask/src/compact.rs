//! Orders the functions of a wasm module for compression: what is alike stands side by side, what is the same is there once.
//!
//! Brotli tells a repeated stretch by its distance, and functions made from one generic are far apart as the linker leaves them.
//! Nothing of what the module does changes: numbers of functions are rewritten wherever they stand (calls, exports, tables), and a
//! place in a table keeps its own number. Invariant: the result is valid wasm with the imports, exports and tables of the source.

use std::collections::HashMap;
use std::convert::Infallible;
use std::ops::Range;

use anyhow::{Context as _, Result, bail};
use wasm_encoder::reencode::{self, Reencode, RoundtripReencoder};
use wasm_encoder::{ElementSection, Encode as _, Section as _};
use wasmparser::{Export, ExternalKind, FunctionBody, Operator, Parser, Payload, SectionLimited, TypeRef};

/// How many bytes are looked at together when functions are compared.
const STRETCH: usize = 5;
/// How many stretches stand for a function, however long it is.
const SKETCH: usize = 200;

/// Rewrites a module so that it compresses better.
pub(crate) fn compact(wasm: &[u8]) -> Result<Vec<u8>> {
    let module = Module::read(wasm).context("reading the functions of the wasm")?;
    let stands_for = module.unify();
    let order = module.in_order(&stands_for);
    let compacted = module.write(&stands_for, &order)?;
    wasmparser::validate(&compacted).context("checking the ordered wasm")?;
    Ok(compacted)
}

/// A function without the numbers of the functions it mentions.
struct Body {
    bytes: Vec<u8>,
    /// Where in `bytes` the number of a function belongs, and which.
    mentions: Vec<(usize, u32)>,
}

impl Body {
    fn read(body: &FunctionBody<'_>, wasm: &[u8]) -> Result<Self> {
        let mut reader = body.get_operators_reader()?;
        let mut bytes = part(wasm, body.range().start..reader.original_position())?.to_vec();
        let mut mentions = Vec::new();
        while !reader.eof() {
            // One byte says what is done, the number of the function follows.
            let (opcode, function) = match reader.read()? {
                Operator::Call { function_index } => (0x10, function_index),
                Operator::ReturnCall { function_index } => (0x12, function_index),
                Operator::RefFunc { function_index } => (0xd2, function_index),
                // Written anew: a linker that leaves relocations pads every number to its longest.
                other => {
                    RoundtripReencoder.instruction(other)?.encode(&mut bytes);
                    continue;
                }
            };
            bytes.push(opcode);
            mentions.push((bytes.len(), function));
        }
        Ok(Self { bytes, mentions })
    }

    fn write(&self, number: impl Fn(u32) -> u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + 3 * self.mentions.len());
        let mut from = 0;
        for (at, function) in &self.mentions {
            out.extend_from_slice(&self.bytes[from..*at]);
            push_number(&mut out, number(*function));
            from = *at;
        }
        out.extend_from_slice(&self.bytes[from..]);
        out
    }

    /// Returns the least hashes of its stretches: two functions share as many of them as they are alike.
    fn sketch(&self) -> Vec<u32> {
        let hash = |stretch: &[u8]| {
            // FNV-1a, then spread, since the least ones are taken.
            let fold = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
            let hash = stretch.iter().fold(0x811c_9dc5, fold);
            (hash ^ (hash >> 15)).wrapping_mul(0x9E37_79B1)
        };
        let mut all: Vec<u32> = self.bytes.windows(STRETCH.min(self.bytes.len())).map(hash).collect();
        all.sort_unstable();
        all.dedup();
        all.truncate(SKETCH);
        all
    }
}

/// The bytes at these places.
fn part(wasm: &[u8], range: Range<u64>) -> Result<&[u8]> {
    let range = usize::try_from(range.start)?..usize::try_from(range.end)?;
    wasm.get(range).context("a place outside the wasm")
}

/// What of a module has to do with the numbers of functions. Own functions are counted after the imported ones.
struct Module<'a> {
    wasm: &'a [u8],
    n_imports: u32,
    /// The type of each own function.
    types: Vec<u32>,
    bodies: Vec<Body>,
}

impl<'a> Module<'a> {
    fn read(wasm: &'a [u8]) -> Result<Self> {
        let mut module = Self { wasm, n_imports: 0, types: Vec::new(), bodies: Vec::new() };
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        module.n_imports += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                    }
                }
                Payload::FunctionSection(types) => module.types = types.into_iter().collect::<Result<_, _>>()?,
                Payload::CodeSectionEntry(body) => module.bodies.push(Body::read(&body, wasm)?),
                _ => {}
            }
        }
        Ok(module)
    }

    fn own(&self) -> Range<u32> {
        self.n_imports..self.n_imports + u32::try_from(self.bodies.len()).unwrap_or(u32::MAX)
    }

    /// Finds functions that are the same, calls of one another included; returns for each the one that stands for it.
    fn unify(&self) -> Vec<u32> {
        let mut stands_for: Vec<u32> = (0..self.own().end).collect();
        loop {
            let mut seen = HashMap::new();
            let mut next = stands_for.clone();
            for (body, (own, of_type)) in self.bodies.iter().zip(self.own().zip(&self.types)) {
                let mentions: Vec<(usize, u32)> =
                    body.mentions.iter().map(|(at, function)| (*at, stands_for[*function as usize])).collect();
                next[own as usize] = *seen.entry((of_type, &body.bytes, mentions)).or_insert(own);
            }
            if next == stands_for {
                return stands_for;
            }
            stands_for = next;
        }
    }

    /// Chains functions: each is followed by the one most like it among those that are left.
    fn in_order(&self, stands_for: &[u32]) -> Vec<u32> {
        let kept: Vec<u32> = self.own().filter(|own| stands_for[*own as usize] == *own).collect();
        let body = |own: u32| &self.bodies[(own - self.n_imports) as usize];
        let sketches: Vec<Vec<u32>> = kept.iter().map(|own| body(*own).sketch()).collect();
        let lengths: Vec<usize> = kept.iter().map(|own| body(*own).bytes.len()).collect();
        chain(&sketches, &lengths).into_iter().map(|place| kept[place]).collect()
    }

    fn write(&self, stands_for: &[u32], order: &[u32]) -> Result<Vec<u8>> {
        let mut numbers: Vec<u32> = (0..self.own().end).collect();
        for (own, function) in self.own().zip(order) {
            numbers[*function as usize] = own;
        }
        let number = |function: u32| numbers[stands_for[function as usize] as usize];
        let mut out = b"\0asm\x01\0\0\0".to_vec();
        for payload in Parser::new(0).parse_all(self.wasm) {
            let payload = payload?;
            let section = match &payload {
                Payload::FunctionSection(_) => {
                    let of_type = |function: &u32| self.types[(function - self.n_imports) as usize];
                    Some(numbers_of(order.iter().map(of_type)))
                }
                Payload::ExportSection(exports) => Some(write_exports(exports, number)?),
                Payload::StartSection { func, .. } => {
                    let mut start = Vec::new();
                    push_number(&mut start, number(*func));
                    Some(start)
                }
                Payload::ElementSection(elements) => {
                    let mut section = ElementSection::new();
                    Renumbered(number).parse_element_section(&mut section, elements.clone())?;
                    section.append_to(&mut out);
                    continue;
                }
                Payload::CodeSectionStart { .. } => Some(self.write_code(order, number)?),
                // Its functions stand in the section that has just been written.
                Payload::CodeSectionEntry(_) => continue,
                // Names are told by number; a release has none.
                Payload::CustomSection(section) if section.name() == "name" => continue,
                _ => None,
            };
            if let Some((id, range)) = payload.as_section() {
                match section {
                    Some(section) => push_section(&mut out, id, &section)?,
                    None => push_section(&mut out, id, part(self.wasm, range)?)?,
                }
            }
        }
        Ok(out)
    }

    fn write_code(&self, order: &[u32], number: impl Fn(u32) -> u32) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        push_length(&mut out, order.len())?;
        for function in order {
            let body = self.bodies[(function - self.n_imports) as usize].write(&number);
            push_length(&mut out, body.len())?;
            out.extend_from_slice(&body);
        }
        Ok(out)
    }
}

/// Writes what it reads, with each function under its new number.
struct Renumbered<F>(F);

impl<F: Fn(u32) -> u32> Reencode for Renumbered<F> {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, reencode::Error<Infallible>> {
        Ok((self.0)(function))
    }
}

/// Orders what has these sketches: the longest first, then always the one most like the last; what is like nothing begins anew.
fn chain(sketches: &[Vec<u32>], lengths: &[usize]) -> Vec<usize> {
    let mut having: HashMap<u32, Vec<usize>> = HashMap::new();
    for (place, sketch) in sketches.iter().enumerate() {
        for hash in sketch {
            having.entry(*hash).or_default().push(place);
        }
    }
    let mut by_length: Vec<usize> = (0..sketches.len()).collect();
    by_length.sort_by_key(|place| std::cmp::Reverse(lengths[*place]));
    let mut is_left = vec![true; sketches.len()];
    let mut shared = vec![0_usize; sketches.len()];
    let mut order = Vec::with_capacity(sketches.len());
    for first in by_length {
        let mut next = is_left[first].then_some(first);
        while let Some(last) = next {
            is_left[last] = false;
            order.push(last);
            let mut met = Vec::new();
            for hash in &sketches[last] {
                let Some(places) = having.get_mut(hash) else { continue };
                places.retain(|place| is_left[*place]);
                for place in places {
                    if shared[*place] == 0 {
                        met.push(*place);
                    }
                    shared[*place] += 1;
                }
            }
            let likeness = |place: usize| {
                let stretches = sketches[place].len().max(sketches[last].len());
                let (short, long) = (lengths[place].min(lengths[last]), lengths[place].max(lengths[last]));
                // Among those that share as much, the one of about the same length.
                1_000 * shared[place] / stretches + 20 * short / long
            };
            next = met.iter().copied().max_by_key(|place| (likeness(*place), std::cmp::Reverse(*place)));
            for place in met {
                shared[place] = 0;
            }
        }
    }
    order
}

fn write_exports(exports: &SectionLimited<'_, Export<'_>>, number: impl Fn(u32) -> u32) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    push_number(&mut out, exports.count());
    for export in exports.clone() {
        let export = export?;
        push_length(&mut out, export.name.len())?;
        out.extend_from_slice(export.name.as_bytes());
        let (kind, index) = match export.kind {
            ExternalKind::Func => (0, number(export.index)),
            ExternalKind::Table => (1, export.index),
            ExternalKind::Memory => (2, export.index),
            ExternalKind::Global => (3, export.index),
            other => bail!("an export of a kind that is not understood here: {other:?}"),
        };
        out.push(kind);
        push_number(&mut out, index);
    }
    Ok(out)
}

fn push_section(out: &mut Vec<u8>, id: u8, content: &[u8]) -> Result<()> {
    out.push(id);
    push_length(out, content.len())?;
    out.extend_from_slice(content);
    Ok(())
}

/// A list of numbers, as sections of functions and tables hold it.
fn numbers_of(numbers: impl ExactSizeIterator<Item = u32>) -> Vec<u8> {
    let mut out = Vec::new();
    push_number(&mut out, u32::try_from(numbers.len()).unwrap_or(u32::MAX));
    for number in numbers {
        push_number(&mut out, number);
    }
    out
}

fn push_length(out: &mut Vec<u8>, length: usize) -> Result<()> {
    push_number(out, u32::try_from(length).context("a part of the wasm is longer than wasm can be")?);
    Ok(())
}

/// Seven bits in a byte, the least first (LEB128).
fn push_number(out: &mut Vec<u8>, mut number: u32) {
    loop {
        let [low, ..] = (number & 0x7f).to_le_bytes();
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmparser::ElementItems;

    /// `() -> i32` functions that give a number or what another function gives, all of them in a table; exported by letter.
    fn module(bodies: &[&[u8]]) -> Vec<u8> {
        let n = u8::try_from(bodies.len()).expect("few");
        let mut out = b"\0asm\x01\0\0\0".to_vec();
        push_section(&mut out, 1, &[1, 0x60, 0, 1, 0x7f]).expect("short");
        push_section(&mut out, 3, &numbers_of(bodies.iter().map(|_| 0))).expect("short");
        push_section(&mut out, 4, &[1, 0x70, 0, n]).expect("short");
        let mut exports = vec![n];
        exports.extend((0..n).flat_map(|own| [1, b'a' + own, 0, own]));
        push_section(&mut out, 7, &exports).expect("short");
        let mut table = vec![1, 0, 0x41, 0, 0x0b];
        table.extend(numbers_of((0..u32::from(n)).collect::<Vec<_>>().into_iter()));
        push_section(&mut out, 9, &table).expect("short");
        let mut code = vec![n];
        for body in bodies {
            code.push(u8::try_from(body.len() + 2).expect("short"));
            code.push(0);
            code.extend_from_slice(body);
            code.push(0x0b);
        }
        push_section(&mut out, 10, &code).expect("short");
        out
    }

    /// What each export and each place of the table gives, found by following calls to the number at their end.
    fn results(wasm: &[u8]) -> (usize, Vec<(String, u8)>, Vec<u8>) {
        let module = Module::read(wasm).expect("wasm");
        let result = |function: u32| {
            let mut body = &module.bodies[function as usize];
            while let [(_, called)] = body.mentions[..] {
                body = &module.bodies[called as usize];
            }
            body.bytes[2]
        };
        let (mut exports, mut table) = (Vec::new(), Vec::new());
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.expect("wasm") {
                Payload::ExportSection(all) => {
                    let all = all.into_iter().map(|export| export.expect("an export"));
                    exports = all.map(|export| (export.name.to_owned(), result(export.index))).collect();
                }
                Payload::ElementSection(all) => {
                    for element in all {
                        let ElementItems::Functions(all) = element.expect("a table").items else { continue };
                        table.extend(all.into_iter().map(|function| result(function.expect("a function"))));
                    }
                }
                _ => {}
            }
        }
        (module.bodies.len(), exports, table)
    }

    #[test]
    fn every_export_and_every_place_of_a_table_gives_what_it_gave() {
        // a = 7, b = c(), c = 9, d = 7, e = f(), f = 9: d is a, f is c, and therefore e is b.
        let bodies: [&[u8]; 6] = [&[0x41, 7], &[0x10, 2], &[0x41, 9], &[0x41, 7], &[0x10, 5], &[0x41, 9]];
        let wasm = module(&bodies);
        wasmparser::validate(&wasm).expect("a valid module");
        let (n_before, exports_before, table_before) = results(&wasm);
        let compacted = compact(&wasm).expect("compacts");
        let (n_after, exports, table) = results(&compacted);
        assert_eq!((n_before, n_after), (6, 3));
        assert_eq!((exports, table), (exports_before, table_before));
        assert_eq!(compact(&wasm).expect("compacts"), compacted, "the same source gives the same file");
    }

    #[test]
    fn what_is_alike_stands_side_by_side() {
        let sketches = [vec![1, 2, 3, 4], vec![7, 8, 9], vec![1, 2, 3, 5], vec![7, 8, 10], vec![20]];
        assert_eq!(chain(&sketches, &[50, 40, 48, 41, 60]), [4, 0, 2, 3, 1]);
    }
}

//! A name for those who have none: clients on a socket in the file system.
//!
//! HTTP/2 requests say for which host they are (`:authority`). etcd's own clients, and others of gRPC, put the socket's path there,
//! with slashes in it; h2, like any strict server, resets each such stream with `PROTOCOL_ERROR`, and cannot be told to be lenient. On
//! a socket nobody needs that name, so it is replaced before h2 sees it.
//!
//! Header fields are compressed against a table that both sides keep (RFC 7541), in which an entry takes up as much as its name and
//! value are long. So the value is replaced by one of *equal length*: both tables then forget the same entries at the same time, and
//! everything else passes through as it is. To know the length of a Huffman-coded value its symbols are counted, no more.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Secure;
use crate::runtime::Stream;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER: usize = 9;
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// The largest frame that h2 takes unless it says otherwise, which it does not.
const LARGEST_FRAME: usize = 16_384;
/// What stands for every character of the name that is replaced: a letter may stand anywhere in a host's name.
const STAND_IN: u8 = b'a';
/// `:authority` in the static table.
const AUTHORITY: usize = 1;
/// How many symbols of HPACK's Huffman code have 0, 1, 2 … bits. The code is canonical, so this tells where each symbol ends.
const SYMBOLS_BY_BITS: [u32; 31] = [
    0, 0, 0, 0, 0, 10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19,
    29, 0, 4,
];

/// No protection, and requests for any authority whatever.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainLocal;

impl<S: Stream> Secure<S> for PlainLocal {
    type Stream = Named<S>;
    type Peer = ();

    async fn accept(&self, stream: S) -> io::Result<(Named<S>, ())> {
        Ok((Named::new(stream), ()))
    }
}

/// A stream whose HTTP/2 requests, as they are read, are for an authority that can be one.
#[derive(Debug)]
pub struct Named<S> {
    stream: S,
    state: State,
    /// Read, and not whole enough to be passed on.
    input: BytesMut,
    /// To be passed on.
    output: BytesMut,
}

/// What comes next.
#[derive(Debug)]
enum State {
    /// The first bytes, which say whether this is HTTP/2.
    Preface,
    /// A frame.
    Frame,
    /// So many bytes of a frame that is none of ours.
    Rest(usize),
    /// Whatever: it is another protocol.
    Anything,
}

impl<S> Named<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            state: State::Preface,
            input: BytesMut::new(),
            output: BytesMut::new(),
        }
    }

    /// Moves what can be passed on from `input` to `output`.
    fn digest(&mut self) {
        while !self.input.is_empty() {
            match self.state {
                State::Preface => {
                    let length = self.input.len().min(PREFACE.len());
                    if self.input[..length] != PREFACE[..length] {
                        self.state = State::Anything;
                    } else if length == PREFACE.len() {
                        self.pass(length);
                        self.state = State::Frame;
                    } else {
                        return;
                    }
                }
                State::Frame => match self.frame_ahead() {
                    None => return,
                    Some((HEADERS, length)) if length <= LARGEST_FRAME => {
                        if self.input.len() < FRAME_HEADER + length {
                            return;
                        }
                        let frame = self.input.split_to(FRAME_HEADER + length).freeze();
                        match renamed(&frame) {
                            Some(other) => self.output.extend_from_slice(&other),
                            None => self.output.extend_from_slice(&frame),
                        }
                    }
                    Some((_, length)) => self.state = State::Rest(FRAME_HEADER + length),
                },
                State::Rest(left) => {
                    let part = left.min(self.input.len());
                    self.pass(part);
                    self.state = match left - part {
                        0 => State::Frame,
                        left => State::Rest(left),
                    };
                }
                State::Anything => self.pass(self.input.len()),
            }
        }
    }

    fn pass(&mut self, bytes: usize) {
        let passed = self.input.split_to(bytes);
        self.output.unsplit(passed);
    }

    /// Kind and length of the next frame, once its header is here.
    fn frame_ahead(&self) -> Option<(u8, usize)> {
        let header = self.input.get(..FRAME_HEADER)?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        Some((header[3], length as usize))
    }
}

/// A HEADERS frame with another authority; none if it names none that could be found, and passes as it is.
fn renamed(frame: &Bytes) -> Option<BytesMut> {
    let flags = frame[4];
    let mut block = FRAME_HEADER;
    let mut end = frame.len();
    if flags & PADDED != 0 {
        end = end.checked_sub(usize::from(*frame.get(block)?))?;
        block += 1;
    }
    if flags & PRIORITY != 0 {
        block += 5;
    }
    let fields = frame.get(block..end)?;
    let (from, to, length) = authority(fields)?;
    let mut other = BytesMut::with_capacity(frame.len() + length);
    other.extend_from_slice(&frame[..block + from]);
    put_length(length, &mut other);
    other.put_bytes(STAND_IN, length);
    other.extend_from_slice(&frame[block + to..]);
    let payload = other.len() - FRAME_HEADER;
    if payload > LARGEST_FRAME {
        return None;
    }
    let bytes = u32::try_from(payload).ok()?.to_be_bytes();
    other[..3].copy_from_slice(&bytes[1..]);
    Some(other)
}

/// Where the authority's value begins and ends in a block of fields, its length included, and how many characters it has.
fn authority(fields: &[u8]) -> Option<(usize, usize, usize)> {
    let mut at = 0;
    loop {
        let first = *fields.get(at)?;
        // Indexed; a new size of the table; a literal that is kept in the table; one that is not.
        let (prefix, literal) = match first {
            0x80.. => (7, false),
            0x40.. => (6, true),
            0x20.. => (5, false),
            _ => (4, true),
        };
        let name = take_number(fields, &mut at, prefix)?;
        if !literal {
            continue;
        }
        if name == 0 {
            skip_text(fields, &mut at)?;
        }
        let from = at;
        let value = skip_text(fields, &mut at)?;
        if name == AUTHORITY {
            let huffman = fields[from] & 0x80 != 0;
            let length = if huffman {
                symbols(value)?
            } else {
                value.len()
            };
            return Some((from, at, length));
        }
    }
}

/// A number whose first byte has `prefix` bits for it.
fn take_number(bytes: &[u8], at: &mut usize, prefix: u32) -> Option<usize> {
    let most = (1_usize << prefix) - 1;
    let mut number = usize::from(*bytes.get(*at)?) & most;
    *at += 1;
    if number < most {
        return Some(number);
    }
    // More than four further bytes are no length of anything here.
    for shift in [0, 7, 14, 21] {
        let byte = usize::from(*bytes.get(*at)?);
        *at += 1;
        number += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn skip_text<'b>(bytes: &'b [u8], at: &mut usize) -> Option<&'b [u8]> {
    let length = take_number(bytes, at, 7)?;
    let text = bytes.get(*at..at.checked_add(length)?)?;
    *at += length;
    Some(text)
}

fn put_length(length: usize, to: &mut BytesMut) {
    const MOST: usize = 0x7f;
    if length < MOST {
        to.put_u8(length as u8);
        return;
    }
    to.put_u8(MOST as u8);
    let mut rest = length - MOST;
    while rest > MOST {
        to.put_u8((rest & MOST) as u8 | 0x80);
        rest >>= 7;
    }
    to.put_u8(rest as u8);
}

/// How many characters a Huffman-coded text has; none if it is none.
fn symbols(coded: &[u8]) -> Option<usize> {
    let (mut count, mut bits, mut code, mut first) = (0, 0, 0_u32, 0_u32);
    for position in 0..coded.len() * 8 {
        let bit = coded[position / 8] >> (7 - position % 8) & 1;
        code = code << 1 | u32::from(bit);
        first <<= 1;
        bits += 1;
        let here = *SYMBOLS_BY_BITS.get(bits)?;
        if code - first < here {
            count += 1;
            (bits, code, first) = (0, 0, 0);
        } else {
            first += here;
        }
    }
    // What is left fills the last byte up with ones.
    (bits < 8 && code == (1 << bits) - 1).then_some(count)
}

impl<S: AsyncRead + Unpin> AsyncRead for Named<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.output.is_empty() {
            let mut chunk = [0; 8 * 1024];
            let mut read = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                // The other side has ended in the middle of something; what that means is not for us to say.
                this.output = this.input.split();
                break;
            }
            this.input.extend_from_slice(read.filled());
            this.digest();
        }
        let part = this.output.len().min(buffer.remaining());
        buffer.put_slice(&this.output[..part]);
        this.output.advance(part);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Named<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "www.example.com", as RFC 7541 (C.4.1) has it.
    const CODED: [u8; 12] = [
        0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
    ];

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 1]);
        frame.extend(payload);
        frame
    }

    /// `:method POST`, `:path` and the authority given, and a header behind it.
    fn fields(authority: &[u8]) -> Vec<u8> {
        let mut fields = vec![0x83, 0x86, 0x44, 5];
        fields.extend(b"/a.B/");
        fields.extend(authority);
        fields.extend([0x40, 2]);
        fields.extend(b"te");
        fields.push(8);
        fields.extend(b"trailers");
        fields
    }

    fn text(text: &[u8]) -> Vec<u8> {
        let mut field = vec![0x41, u8::try_from(text.len()).unwrap()];
        field.extend(text);
        field
    }

    /// What comes out when `bytes` come in, so many at a time.
    fn through(bytes: &[u8], at_a_time: usize) -> Vec<u8> {
        let mut named = Named::new(());
        for chunk in bytes.chunks(at_a_time) {
            named.input.extend_from_slice(chunk);
            named.digest();
        }
        assert!(named.input.is_empty(), "something was held back");
        named.output.to_vec()
    }

    #[test]
    fn a_path_becomes_a_name_of_equal_length_and_nothing_else_changes() {
        let conversation = |authority: &[u8]| {
            let mut bytes = PREFACE.to_vec();
            bytes.extend(frame(4, 0, &[]));
            bytes.extend(frame(HEADERS, 4, &fields(authority)));
            bytes.extend(frame(0, 1, b"\x41\x01/"));
            bytes
        };
        let mut coded = vec![0x41, 0x80 | 12];
        coded.extend(CODED);
        for (sent, length) in [(text(b"/run/q.sock"), 11), (coded, 15)] {
            let expected = conversation(&text(&vec![STAND_IN; length]));
            for at_a_time in [1, 7, 1_000] {
                assert_eq!(through(&conversation(&sent), at_a_time), expected);
            }
        }
    }

    #[test]
    fn priority_and_padding_stay_where_they_are() {
        let payload = |authority: &[u8]| {
            let mut payload = vec![3, 0, 0, 0, 0, 16];
            payload.extend(fields(authority));
            payload.extend([0, 0, 0]);
            payload
        };
        let whole = |authority: &[u8]| {
            let mut bytes = PREFACE.to_vec();
            bytes.extend(frame(HEADERS, 4 | PADDED | PRIORITY, &payload(authority)));
            bytes
        };
        assert_eq!(through(&whole(&text(b"/s")), 100), whole(&text(b"aa")));
    }

    #[test]
    fn other_protocols_and_fields_without_a_literal_authority_pass_as_they_are() {
        let probe = b"GET /health HTTP/1.1\r\n\r\n".to_vec();
        assert_eq!(through(&probe, 5), probe);
        let mut bytes = PREFACE.to_vec();
        // The second request of a connection refers to the first one's.
        bytes.extend(frame(HEADERS, 5, &[0x83, 0x86, 0xbf, 0xbe]));
        bytes.extend(frame(HEADERS, 5, &[0x41, 0xff]));
        bytes.extend(frame(HEADERS, PADDED, &[]));
        assert_eq!(through(&bytes, 100), bytes);
    }

    #[test]
    fn symbols_are_counted_and_lengths_written_as_they_are_read() {
        assert_eq!(symbols(&CODED), Some(15));
        // "302", "private" and a date, from the same RFC.
        assert_eq!(symbols(&[0x64, 0x02]), Some(3));
        assert_eq!(symbols(&[0xae, 0xc3, 0x77, 0x1a, 0x4b]), Some(7));
        assert_eq!(symbols(&[0xff; 5]), None);
        for length in [0, 1, 126, 127, 128, 255, 300, 20_000] {
            let mut written = BytesMut::new();
            put_length(length, &mut written);
            let mut at = 0;
            assert_eq!(take_number(&written, &mut at, 7), Some(length));
            assert_eq!(at, written.len());
        }
    }
}

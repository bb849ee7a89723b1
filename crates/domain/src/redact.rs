//! Secrets are replaced before anything is written: known values, and known shapes of tokens.
//!
//! The mask is shorter than the shortest secret and valid inside JSON text, and the result is
//! searched again until nothing is found, so that a mask and its neighbours never form a secret.

use std::{borrow::Cow, fmt};

/// What stands in place of a secret.
pub const MASK: &str = "***";

/// A value shorter than this is not treated as a secret: it would mask ordinary words.
pub const SECRET_MIN: usize = 6;

/// A line of a secret of several lines is one by itself from this length.
const SECRET_LINE_MIN: usize = 16;

/// Replaces secrets in text. Build once per session, use for every line.
#[derive(Clone)]
pub struct Redactor {
    /// Longest first, so that a secret that starts with another is masked whole.
    secrets: Vec<Vec<u8>>,
    /// Whether a secret or a shape may start with a byte.
    starts: [bool; 256],
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor")
            .field("secrets", &self.secrets.len())
            .finish_non_exhaustive()
    }
}

impl Default for Redactor {
    fn default() -> Self {
        Self::new([])
    }
}

/// What is carried from one line of a stream to the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carry {
    is_inside_key: bool,
}

impl Redactor {
    /// A redactor for these values; those shorter than [`SECRET_MIN`] are left out.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut secrets: Vec<Vec<u8>> = Vec::new();
        for value in values {
            let value = value.trim();
            let escaped = json_escaped(value);
            let lines = value
                .lines()
                .map(str::trim)
                .filter(|line| line.len() >= SECRET_LINE_MIN);
            for form in lines.chain([value, escaped.as_str()]) {
                if form.len() >= SECRET_MIN {
                    secrets.push(form.as_bytes().to_vec());
                }
            }
        }
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        let mut starts = [false; 256];
        for byte in b"sgxAbBe-:"
            .iter()
            .chain(secrets.iter().filter_map(|secret| secret.first()))
        {
            starts[usize::from(*byte)] = true;
        }
        Self { secrets, starts }
    }

    /// The text without secrets.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// The bytes without secrets.
    #[must_use]
    pub fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        self.line(&mut Carry::default(), bytes)
    }

    /// One line of a stream: a private key that spans lines is masked to its end.
    #[must_use]
    pub fn line<'a>(&self, carry: &mut Carry, line: &'a [u8]) -> Cow<'a, [u8]> {
        let mut result = Cow::Borrowed(line);
        if carry.is_inside_key {
            let Some(end) = end_of_key(line) else {
                return Cow::Borrowed(if line.is_empty() {
                    b""
                } else {
                    MASK.as_bytes()
                });
            };
            carry.is_inside_key = false;
            result = Cow::Owned([MASK.as_bytes(), &line[end..]].concat());
        }
        while let Some(next) = self.pass(carry, &result) {
            result = Cow::Owned(next);
        }
        result
    }

    /// Every secret masked once; `None` if there was none. A result is shorter, but for the
    /// userinfo of a URL of one or two bytes, which is no longer one afterwards.
    fn pass(&self, carry: &mut Carry, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut masked: Option<Vec<u8>> = None;
        let (mut copied, mut at) = (0, 0);
        while at < bytes.len() {
            if !self.starts[usize::from(bytes[at])] {
                at += 1;
                continue;
            }
            let Some((from, to)) = self.find_at(carry, bytes, at) else {
                at += 1;
                continue;
            };
            let out = masked.get_or_insert_with(|| Vec::with_capacity(bytes.len()));
            out.extend_from_slice(&bytes[copied..from]);
            out.extend_from_slice(MASK.as_bytes());
            copied = to;
            at = to;
        }
        if let Some(out) = &mut masked {
            out.extend_from_slice(&bytes[copied..]);
        }
        masked
    }

    fn find_at(&self, carry: &mut Carry, bytes: &[u8], at: usize) -> Option<(usize, usize)> {
        let rest = &bytes[at..];
        let known = self.secrets.iter().find(|secret| rest.starts_with(secret));
        if let Some(secret) = known {
            return Some((at, at + secret.len()));
        }
        if let Some(begin) = start_of_key(rest) {
            let end = end_of_key(&rest[begin..]).map(|end| at + begin + end);
            carry.is_inside_key = end.is_none();
            return Some((at, end.unwrap_or(bytes.len())));
        }
        if let Some((begin, end)) = userinfo(&bytes[..at], rest) {
            return Some((at + begin, at + end));
        }
        let is_word_start = at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
        let (skip, length) = if is_word_start {
            token_shape(rest)?
        } else {
            return None;
        };
        Some((at + skip, at + length))
    }
}

/// What stands before the `@` of a URL whose `://` begins `rest`, a slash escaped or not. The user
/// alone of an `ssh` address is a name and stays.
fn userinfo(scheme: &[u8], rest: &[u8]) -> Option<(usize, usize)> {
    let mark = [&b"://"[..], b":\\/\\/"]
        .into_iter()
        .find(|mark| rest.starts_with(mark))?;
    scheme.last().filter(|byte| byte.is_ascii_alphanumeric())?;
    let tail = &rest[mark.len()..];
    let authority = &tail[..run(tail, |b| {
        !b.is_ascii_control() && !b" /?#\"'<>\\`".contains(&b)
    })];
    let length = authority.iter().rposition(|byte| *byte == b'@')?;
    let info = &authority[..length];
    let is_name = scheme.ends_with(b"ssh") && !info.contains(&b':');
    let is_masked = info.is_empty() || info == MASK.as_bytes();
    (!is_name && !is_masked).then_some((mark.len(), mark.len() + length))
}

/// `-----BEGIN … PRIVATE KEY-----`: its length.
fn start_of_key(rest: &[u8]) -> Option<usize> {
    marker(rest.strip_prefix(b"-----BEGIN ")?).map(|length| length + 11)
}

/// The end of `-----END … PRIVATE KEY-----` in the text.
fn end_of_key(text: &[u8]) -> Option<usize> {
    (0..text.len()).find_map(|at| {
        let rest = text[at..].strip_prefix(b"-----END ")?;
        Some(at + 9 + marker(rest)?)
    })
}

fn marker(rest: &[u8]) -> Option<usize> {
    let kind = run(rest, |b| {
        b.is_ascii_uppercase() || b.is_ascii_digit() || b == b' '
    });
    let is_private = rest[..kind].ends_with(b"PRIVATE KEY");
    (is_private && rest[kind..].starts_with(b"-----")).then_some(kind + 5)
}

/// The length of the run of bytes that a token may consist of.
fn run(bytes: &[u8], may: impl Fn(u8) -> bool) -> usize {
    bytes
        .iter()
        .position(|byte| !may(*byte))
        .unwrap_or(bytes.len())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// A token of a known shape at the start of `rest`: what of it to keep, and where it ends.
fn token_shape(rest: &[u8]) -> Option<(usize, usize)> {
    let prefixed = |prefix: &[u8], least: usize, may: fn(u8) -> bool| {
        let tail = rest.strip_prefix(prefix)?;
        let length = run(tail, may);
        (length >= least).then_some((0, prefix.len() + length))
    };
    let alphanumeric: fn(u8) -> bool = |b| b.is_ascii_alphanumeric();
    match rest.first()? {
        b's' => prefixed(b"sk-", 16, is_word)
            .filter(|(_, end)| rest[..*end].iter().any(u8::is_ascii_digit)),
        b'g' => [&b"ghp_"[..], b"gho_", b"ghu_", b"ghs_", b"ghr_"]
            .into_iter()
            .find_map(|prefix| prefixed(prefix, 20, alphanumeric))
            .or_else(|| prefixed(b"github_pat_", 20, is_word))
            .or_else(|| prefixed(b"glpat-", 16, is_word)),
        b'x' if rest.len() > 5 && rest.starts_with(b"xox") && rest[4] == b'-' => {
            let length = run(&rest[5..], is_word);
            (length >= 10).then_some((0, 5 + length))
        }
        b'A' => prefixed(b"AIza", 35, is_word).or_else(|| {
            [&b"AKIA"[..], b"ASIA"].into_iter().find_map(|prefix| {
                prefixed(prefix, 16, |b| b.is_ascii_uppercase() || b.is_ascii_digit())
            })
        }),
        b'b' | b'B' => bearer(rest),
        b'e' => web_token(rest),
        _ => None,
    }
}

/// `Bearer <token>`: the word stays.
fn bearer(rest: &[u8]) -> Option<(usize, usize)> {
    let word = rest
        .get(..7)
        .filter(|word| word.eq_ignore_ascii_case(b"bearer "))?;
    let may = |b: u8| is_word(b) || matches!(b, b'.' | b'~' | b'+' | b'/' | b'=');
    let length = run(&rest[word.len()..], may);
    let token = &rest[word.len()..word.len() + length];
    let looks_random = token.iter().any(u8::is_ascii_digit) || length >= 20;
    (length >= 8 && looks_random).then_some((word.len(), word.len() + length))
}

/// A JSON web token: three parts in base64url, the first of which is a JSON object.
fn web_token(rest: &[u8]) -> Option<(usize, usize)> {
    let head = run(rest.strip_prefix(b"eyJ")?, is_word) + 3;
    let payload = run(rest[head..].strip_prefix(b".")?, is_word);
    let signature = run(rest[head + 1 + payload..].strip_prefix(b".")?, is_word);
    (head >= 10 && payload >= 8 && signature >= 8)
        .then_some((0, head + 1 + payload + 1 + signature))
}

/// The value as it looks inside a JSON string.
fn json_escaped(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_shapes_are_masked() {
        let redactor = Redactor::default();
        let web = format!(
            "eyJ{}.eyJ{}.{}",
            "a".repeat(20),
            "b".repeat(20),
            "c".repeat(43)
        );
        for (text, expected) in [
            ("key=sk-proj-abc123DEF456ghi789 end", "key=*** end"),
            ("ghp_0123456789abcdef0123456789abcdef0123", "***"),
            ("(github_pat_11ABCDEFG0abcdefghijkl_mnop)", "(***)"),
            ("\"xoxb-123456789012-abcdef\"", "\"***\""),
            ("AKIAIOSFODNN7EXAMPLE.", "***."),
            ("AIzaSyA1234567890abcdefghijklmnopqrstuv", "***"),
            (
                "authorization: Bearer abc123456789",
                "authorization: Bearer ***",
            ),
            (web.as_str(), "***"),
            (
                "HTTP_PROXY=http://user:p@ss@proxy.example:3128/ x@y",
                "HTTP_PROXY=http://***@proxy.example:3128/ x@y",
            ),
            (
                r#"{"url":"https:\/\/u:pw@host\/a"} postgres://u:@h"#,
                r#"{"url":"https:\/\/***@host\/a"} postgres://***@h"#,
            ),
            (
                "git clone https://t@host/a.git",
                "git clone https://***@host/a.git",
            ),
            (
                "a -----BEGIN RSA PRIVATE KEY-----\\nMIIE\\n-----END RSA PRIVATE KEY----- b",
                "a *** b",
            ),
        ] {
            assert_eq!(redactor.text(text), expected);
        }
    }

    #[test]
    fn ordinary_text_stays() {
        let redactor = Redactor::new(["short"]);
        for text in [
            "task-0123456789012345678901234567890",
            "sk-loading-indicator-large-and-blue",
            "Bearer authentication is needed",
            "-----BEGIN CERTIFICATE-----",
            "short",
            "eyJ",
            "xox",
            "ssh://git@host.example/a.git and git@host.example:a.git",
            "https://host.example/@scope/name?to=a@b#c@d",
            "http://***@host.example and http://@host.example",
            "://a@b",
            "",
        ] {
            assert!(matches!(redactor.text(text), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn a_key_of_many_lines_is_masked_to_its_end() {
        let redactor = Redactor::default();
        let mut carry = Carry::default();
        let lines = [
            "-----BEGIN PRIVATE KEY-----",
            "MIIEvQ",
            "",
            "-----END PRIVATE KEY----- ok",
            "x",
        ];
        let out: Vec<_> = lines
            .iter()
            .map(|line| {
                String::from_utf8(redactor.line(&mut carry, line.as_bytes()).into_owned()).unwrap()
            })
            .collect();
        assert_eq!(out, ["***", "***", "", "*** ok", "x"]);
    }

    #[test]
    fn a_secret_inside_json_is_found_in_its_escaped_form() {
        let redactor = Redactor::new(["pass\"word\\1"]);
        assert_eq!(redactor.text(r#"{"a":"pass\"word\\1"}"#), r#"{"a":"***"}"#);
    }

    proptest! {
        /// Whatever surrounds it, however secrets overlap and whatever the mask forms.
        #[test]
        fn a_secret_never_comes_out(
            secrets in prop::collection::vec("[a-c*]{6,9}", 1..4),
            parts in prop::collection::vec(("[a-c* ]{0,4}", 0usize..4), 0..12),
        ) {
            let mut text = String::new();
            for (filler, which) in &parts {
                text.push_str(filler);
                if let Some(secret) = secrets.get(*which) {
                    text.push_str(secret);
                }
            }
            let redactor = Redactor::new(secrets.iter().map(String::as_str));
            let out = redactor.text(&text);
            for secret in &secrets {
                prop_assert!(!out.contains(secret.as_str()), "{secret} in {out}");
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _masked = Redactor::new(["secret-value"]).bytes(&bytes);
        }
    }
}

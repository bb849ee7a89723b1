//! Reading a request: who asks, what was the prompt, and which answer is next.
//!
//! Nothing is remembered between calls: the place in a script is the number of assistant messages
//! after its prompt. Parallel, resumed and restarted conversations therefore cannot disturb each
//! other.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::Value;

use super::scenario::{Against, PastEnd, Scenario, Script, Turn};

/// The line of the system prompt in which `OpenCode` names its working directory.
const DIRECTORY_LABEL: &str = "Working directory:";

/// A chat request, as far as the script depends on it.
#[derive(Debug)]
pub(super) struct Conversation {
    messages: Vec<Message>,
    has_tools: bool,
    /// The model that was asked for.
    pub(super) model: String,
    /// Whether the answer is to be streamed.
    pub(super) stream: bool,
    /// Whether a streamed answer is to end with the usage.
    pub(super) include_usage: bool,
    /// The client's own name for the conversation.
    pub(super) session: Option<String>,
}

#[derive(Debug)]
struct Message {
    role: String,
    text: String,
}

/// The answer that is next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next<'scenario> {
    pub(super) script: &'scenario Script,
    pub(super) turn: &'scenario Turn,
    /// Its number in the script. More than the script has where the last is repeated.
    pub(super) number: usize,
    /// Where the prompt stands among the messages.
    pub(super) position: usize,
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// No script matches.
    Unmatched,
    /// The script is over.
    PastEnd {
        /// Which.
        script: String,
        /// How many turns it has.
        turns: usize,
    },
}

impl Conversation {
    /// Reads the body of a chat request.
    pub(super) fn read(body: &Value, session: Option<String>) -> Result<Self, String> {
        let messages = body
            .get("messages")
            .and_then(Value::as_array)
            .ok_or("the body has no `messages`")?
            .iter()
            .map(read_message)
            .collect::<Result<_, _>>()?;
        let is_set = |value: Option<&Value>| value.and_then(Value::as_bool).unwrap_or(false);
        Ok(Self {
            messages,
            has_tools: body
                .get("tools")
                .and_then(Value::as_array)
                .is_some_and(|t| !t.is_empty()),
            model: body
                .get("model")
                .and_then(Value::as_str)
                .unwrap_or("scripted")
                .to_owned(),
            stream: is_set(body.get("stream")),
            include_usage: is_set(body.pointer("/stream_options/include_usage")),
            session,
        })
    }

    /// Whether the agent only wants a title for its session.
    pub(super) fn asks_for_title(&self) -> bool {
        !self.has_tools && self.system().any(|text| text.contains("title generator"))
    }

    /// The agent's working directory, as its system prompt tells.
    pub(super) fn directory(&self) -> Option<&str> {
        self.system()
            .flat_map(str::lines)
            .find_map(|line| line.trim().strip_prefix(DIRECTORY_LABEL))
            .map(str::trim)
            .filter(|directory| !directory.is_empty())
    }

    /// The text of a message.
    pub(super) fn text_at(&self, position: usize) -> &str {
        self.messages
            .get(position)
            .map_or("", |message| message.text.as_str())
    }

    /// The newest prompt, for messages to people.
    pub(super) fn last_prompt(&self) -> &str {
        self.prompts().next_back().map_or("", |(_, text)| text)
    }

    /// A name for this conversation that stays the same through all of its calls: the client's, or
    /// else one made from how it began.
    pub(super) fn key(&self) -> String {
        if let Some(session) = &self.session {
            return session.clone();
        }
        let mut hasher = DefaultHasher::new();
        self.system().for_each(|text| text.hash(&mut hasher));
        self.prompts().next().hash(&mut hasher);
        format!("prompt-{:016x}", hasher.finish())
    }

    /// Which answer is next.
    pub(super) fn next<'scenario>(
        &self,
        scenario: &'scenario Scenario,
    ) -> Result<Next<'scenario>, NoAnswer> {
        let (script, position) = self.matching(scenario).ok_or(NoAnswer::Unmatched)?;
        let after = &self.messages[position + 1..];
        let number = after
            .iter()
            .filter(|message| message.role == "assistant")
            .count();
        let turn = match (script.turns.get(number), script.past_end) {
            (Some(turn), _) => Some(turn),
            (None, PastEnd::RepeatLast) => script.turns.last(),
            (None, PastEnd::Error) => None,
        };
        turn.map(|turn| Next {
            script,
            turn,
            number,
            position,
        })
        .ok_or_else(|| NoAnswer::PastEnd {
            script: script.name.clone(),
            turns: script.turns.len(),
        })
    }

    fn matching<'scenario>(
        &self,
        scenario: &'scenario Scenario,
    ) -> Option<(&'scenario Script, usize)> {
        let first = self.prompts().next()?.0;
        let last = self.prompts().next_back()?.0;
        self.prompts().rev().find_map(|(position, text)| {
            let applies = |script: &&Script| match script.against {
                Against::Nearest => true,
                Against::First => position == first,
                Against::Last => position == last,
            };
            scenario
                .scripts
                .iter()
                .filter(applies)
                .find(|script| script.needles.are_in(text))
                .map(|script| (script, position))
        })
    }

    fn prompts(&self) -> impl DoubleEndedIterator<Item = (usize, &str)> {
        self.messages
            .iter()
            .enumerate()
            .filter(|(_, message)| message.role == "user")
            .map(|(position, message)| (position, message.text.as_str()))
    }

    fn system(&self) -> impl Iterator<Item = &str> {
        self.messages
            .iter()
            .filter(|message| matches!(message.role.as_str(), "system" | "developer"))
            .map(|message| message.text.as_str())
    }
}

fn read_message(message: &Value) -> Result<Message, String> {
    let role = message
        .get("role")
        .and_then(Value::as_str)
        .ok_or("a message has no `role`")?;
    let text = match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts
            .iter()
            .filter_map(|part| part.get("text").and_then(Value::as_str))
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    };
    Ok(Message {
        role: role.to_owned(),
        text,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scenario() -> Scenario {
        Scenario::from_toml(
            "[[scripts]]\nname='one'\nmatch='first thing'\nturns=[{text='a'},{text='b'}]\n\
             [[scripts]]\nname='two'\nmatch=['second','thing']\npast_end='repeat-last'\n\
             turns=[{text='c'}]\n\
             [[scripts]]\nname='summary'\nmatch='Summarise'\nagainst='last'\nturns=[{text='d'}]\n",
        )
        .unwrap()
    }

    fn conversation(messages: &[(&str, &str)]) -> Conversation {
        let messages: Vec<Value> = messages
            .iter()
            .map(|(role, text)| json!({"role": role, "content": text}))
            .collect();
        Conversation::read(&json!({"messages": messages}), None).unwrap()
    }

    fn place(messages: &[(&str, &str)]) -> Result<(String, usize), NoAnswer> {
        let scenario = scenario();
        let next = conversation(messages).next(&scenario)?;
        Ok((next.script.name.clone(), next.number))
    }

    #[test]
    fn the_place_is_counted_from_the_prompt() {
        let first = ("user", "do the first thing");
        let answer = ("assistant", "…");
        assert_eq!(place(&[first]), Ok(("one".into(), 0)));
        assert_eq!(
            place(&[first, answer, ("tool", "ok")]),
            Ok(("one".into(), 1))
        );
        let over = place(&[first, answer, answer]).unwrap_err();
        assert_eq!(
            over,
            NoAnswer::PastEnd {
                script: "one".into(),
                turns: 2
            }
        );
        assert_eq!(
            place(&[first, answer, answer, ("user", "a second thing")]),
            Ok(("two".into(), 0))
        );
        assert_eq!(
            place(&[("user", "second thing"), answer, answer, answer]),
            Ok(("two".into(), 3))
        );
    }

    #[test]
    fn a_message_of_the_agent_itself_is_passed_over_unless_a_script_wants_it() {
        let first = ("user", "do the first thing");
        let answer = ("assistant", "…");
        assert_eq!(
            place(&[first, answer, ("user", "Continue.")]),
            Ok(("one".into(), 1))
        );
        assert_eq!(
            place(&[first, answer, ("user", "Summarise")]),
            Ok(("summary".into(), 0))
        );
        assert_eq!(place(&[("user", "else")]), Err(NoAnswer::Unmatched));
    }

    #[test]
    fn the_directory_comes_from_the_system_prompt() {
        let system = (
            "system",
            "You are…\n<env>\n  Working directory: /a b/c\n  Platform: x\n",
        );
        assert_eq!(conversation(&[system]).directory(), Some("/a b/c"));
        assert_eq!(
            conversation(&[("user", "Working directory: /x")]).directory(),
            None
        );
    }

    #[test]
    fn the_key_stays_through_the_conversation() {
        let (system, first) = (("system", "s"), ("user", "do the first thing"));
        let key = conversation(&[system, first]).key();
        assert_eq!(
            conversation(&[system, first, ("assistant", "a")]).key(),
            key
        );
        assert_ne!(conversation(&[system, ("user", "other")]).key(), key);
        assert_ne!(conversation(&[("system", "t"), first]).key(), key);
    }
}

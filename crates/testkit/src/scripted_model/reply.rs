//! An answer in the words of the chat completions API, whole or in pieces.

use serde_json::{Value, json};

use super::{
    conversation::{Conversation, Next},
    scenario::{ToolCall, Turn, Usage},
    template::Placeholders,
};

/// How much of a text or of arguments one streamed piece carries, in characters: small enough that
/// a sentence comes in several.
const PIECE_CHARS: usize = 24;

/// An answer with its placeholders filled.
#[derive(Debug)]
pub(super) struct Reply {
    id: String,
    model: String,
    text: Option<String>,
    reasoning: Option<String>,
    tools: Vec<FilledCall>,
    finish: String,
    usage: Option<Usage>,
}

#[derive(Debug)]
struct FilledCall {
    id: String,
    name: String,
    arguments: String,
}

impl Reply {
    /// The answer of a turn.
    pub(super) fn of_turn(
        next: &Next<'_>,
        conversation: &Conversation,
        values: &Placeholders<'_>,
    ) -> Result<Self, String> {
        let turn = next.turn;
        let fill = |text: &Option<String>| text.as_deref().map(|t| values.fill(t)).transpose();
        let tools = turn.tools.iter().enumerate().map(|(index, tool)| {
            let id = format!("call_{}_{}_{index}", next.position, next.number);
            fill_call(tool, id, values)
        });
        Ok(Self {
            id: format!("chatcmpl-{}-{}", next.position, next.number),
            model: conversation.model.clone(),
            text: fill(&turn.text)?,
            reasoning: fill(&turn.reasoning)?,
            tools: tools.collect::<Result<_, _>>()?,
            finish: finish_of(turn),
            usage: turn.usage,
        })
    }

    /// A session's title.
    pub(super) fn of_title(title: &str, conversation: &Conversation) -> Self {
        Self {
            id: "chatcmpl-title".to_owned(),
            model: conversation.model.clone(),
            text: Some(title.to_owned()),
            reasoning: None,
            tools: Vec::new(),
            finish: "stop".to_owned(),
            usage: None,
        }
    }

    /// The whole answer.
    pub(super) fn whole(&self) -> Value {
        let tools: Vec<Value> = self
            .tools
            .iter()
            .map(|call| {
                json!({"id": call.id, "type": "function",
                       "function": {"name": call.name, "arguments": call.arguments}})
            })
            .collect();
        let mut message = json!({"role": "assistant", "content": self.text});
        if let Some(reasoning) = &self.reasoning {
            message["reasoning_content"] = json!(reasoning);
        }
        if !tools.is_empty() {
            message["tool_calls"] = Value::Array(tools);
        }
        let mut whole = json!({
            "id": self.id, "object": "chat.completion", "created": 0, "model": self.model,
            "choices": [{"index": 0, "message": message, "finish_reason": self.finish}],
        });
        if let Some(usage) = &self.usage {
            whole["usage"] = usage_json(usage);
        }
        whole
    }

    /// What a stream carries before the finish reason, in order. At least two pieces.
    pub(super) fn pieces(&self) -> Vec<Value> {
        let mut deltas = vec![json!({"role": "assistant", "content": ""})];
        for piece in pieces_of(self.reasoning.as_deref().unwrap_or_default()) {
            deltas.push(json!({"reasoning_content": piece}));
        }
        for piece in pieces_of(self.text.as_deref().unwrap_or_default()) {
            deltas.push(json!({"content": piece}));
        }
        for (index, call) in self.tools.iter().enumerate() {
            deltas.push(
                json!({"tool_calls": [{"index": index, "id": call.id, "type": "function",
                "function": {"name": call.name, "arguments": ""}}]}),
            );
            for piece in pieces_of(&call.arguments) {
                deltas.push(
                    json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}),
                );
            }
        }
        deltas
            .into_iter()
            .map(|delta| self.chunk(&delta, None))
            .collect()
    }

    /// What ends a stream: the finish reason, and the usage if it was asked for.
    pub(super) fn ending(&self, include_usage: bool) -> Vec<Value> {
        let mut ending = vec![self.chunk(&json!({}), Some(&self.finish))];
        if let (true, Some(usage)) = (include_usage, &self.usage) {
            let mut last = self.chunk(&json!({}), None);
            last["choices"] = json!([]);
            last["usage"] = usage_json(usage);
            ending.push(last);
        }
        ending
    }

    fn chunk(&self, delta: &Value, finish: Option<&str>) -> Value {
        json!({
            "id": self.id, "object": "chat.completion.chunk", "created": 0, "model": self.model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        })
    }
}

fn fill_call(tool: &ToolCall, id: String, values: &Placeholders<'_>) -> Result<FilledCall, String> {
    let arguments = match &tool.raw_arguments {
        Some(raw) => raw.clone(),
        None => values.fill_object(&tool.arguments)?.to_string(),
    };
    Ok(FilledCall {
        id,
        name: tool.name.clone(),
        arguments,
    })
}

fn finish_of(turn: &Turn) -> String {
    let usual = if turn.tools.is_empty() {
        "stop"
    } else {
        "tool_calls"
    };
    turn.finish.as_deref().unwrap_or(usual).to_owned()
}

fn usage_json(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    })
}

fn pieces_of(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    chars
        .chunks(PIECE_CHARS)
        .map(|piece| piece.iter().collect())
        .collect()
}

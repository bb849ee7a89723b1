//! Which variables a model provider is known to read.

/// Provider and variables, as `OpenCode` names the former.
const PROVIDERS: &[(&str, &[&str])] = &[
    ("alibaba", &["DASHSCOPE_API_KEY"]),
    (
        "amazon-bedrock",
        &[
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_REGION",
            "AWS_DEFAULT_REGION",
            "AWS_PROFILE",
            "AWS_BEARER_TOKEN_BEDROCK",
        ],
    ),
    ("anthropic", &["ANTHROPIC_API_KEY"]),
    ("azure", &["AZURE_API_KEY", "AZURE_RESOURCE_NAME"]),
    ("baseten", &["BASETEN_API_KEY"]),
    ("cerebras", &["CEREBRAS_API_KEY"]),
    ("cohere", &["COHERE_API_KEY", "CO_API_KEY"]),
    ("deepinfra", &["DEEPINFRA_API_KEY"]),
    ("deepseek", &["DEEPSEEK_API_KEY"]),
    ("fireworks-ai", &["FIREWORKS_API_KEY"]),
    ("github-copilot", &["GITHUB_TOKEN"]),
    ("github-models", &["GITHUB_TOKEN"]),
    ("gitlab", &["GITLAB_TOKEN"]),
    (
        "google",
        &[
            "GOOGLE_GENERATIVE_AI_API_KEY",
            "GEMINI_API_KEY",
            "GOOGLE_API_KEY",
        ],
    ),
    (
        "google-vertex",
        &[
            "GOOGLE_VERTEX_PROJECT",
            "GOOGLE_VERTEX_LOCATION",
            "GOOGLE_CLOUD_PROJECT",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "VERTEX_LOCATION",
        ],
    ),
    ("groq", &["GROQ_API_KEY"]),
    ("huggingface", &["HF_TOKEN"]),
    ("mistral", &["MISTRAL_API_KEY"]),
    ("moonshotai", &["MOONSHOT_API_KEY"]),
    ("nvidia", &["NVIDIA_API_KEY"]),
    ("openai", &["OPENAI_API_KEY"]),
    ("openrouter", &["OPENROUTER_API_KEY"]),
    ("perplexity", &["PERPLEXITY_API_KEY"]),
    ("togetherai", &["TOGETHER_API_KEY"]),
    ("vercel", &["AI_GATEWAY_API_KEY"]),
    ("xai", &["XAI_API_KEY"]),
    ("zai", &["ZHIPU_API_KEY"]),
];

/// Keys to far more than a model: passed only where their provider is the chosen one.
const ONLY_WHEN_CHOSEN: &[&str] = &[
    "amazon-bedrock",
    "github-copilot",
    "github-models",
    "gitlab",
];

/// What a provider reads; empty for one that is not known.
pub(crate) fn variables(provider: &str) -> &'static [&'static str] {
    PROVIDERS
        .iter()
        .find(|(name, _)| *name == provider)
        .map_or(&[], |(_, variables)| variables)
}

/// What any provider reads, for agents that choose one by what they find.
pub(crate) fn all_variables() -> Vec<String> {
    PROVIDERS
        .iter()
        .filter(|(name, _)| !ONLY_WHEN_CHOSEN.contains(name))
        .flat_map(|(_, variables)| variables.iter().map(|name| (*name).to_owned()))
        .collect()
}

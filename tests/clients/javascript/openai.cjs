// What the official Node client of OpenAI sees of a server: every call, and the class of every refusal.
// Usage: node openai.cjs BASE_URL. Keys and report are those of programs/openai_calls.py.
"use strict";

const OpenAI = require("openai");

const baseURL = process.argv[2];
const env = process.env;
const messages = [{ role: "user", content: "Count from one to ten." }];
const settings = { max_tokens: 24, temperature: 0, seed: 7 };
const client = (apiKey) => new OpenAI({ baseURL, apiKey: apiKey || "none", maxRetries: 0, timeout: 120000 });
const counts = (usage) => [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens];

async function chat(asked) {
  const whole = await asked.chat.completions.create({ model: "twin", messages, ...settings });
  const stream = await asked.chat.completions.create({
    model: "twin",
    messages,
    stream: true,
    stream_options: { include_usage: true },
    ...settings,
  });
  const times = [];
  const pieces = [];
  let finish, usage;
  for await (const chunk of stream) {
    usage = chunk.usage ?? usage;
    for (const choice of chunk.choices) {
      finish = choice.finish_reason ?? finish;
      if (choice.delta.content) {
        times.push(performance.now());
        pieces.push(choice.delta.content);
      }
    }
  }
  const said = whole.choices[0];
  return {
    text: said.message.content,
    role: said.message.role,
    finish: said.finish_reason,
    model: whole.model,
    usage: counts(whole.usage),
    streamed: pieces.join(""),
    pieces: pieces.length,
    spread_ms: times.at(-1) - times[0],
    streamed_finish: finish,
    streamed_usage: counts(usage),
  };
}

async function complete(asked) {
  const prompt = "The capital of France is";
  const whole = await asked.completions.create({ model: "twin", prompt, ...settings });
  const pieces = [];
  for await (const chunk of await asked.completions.create({ model: "twin", prompt, stream: true, ...settings })) {
    if (chunk.choices.length) pieces.push(chunk.choices[0].text);
  }
  const { text, finish_reason: finish } = whole.choices[0];
  return { text, finish, usage: counts(whole.usage), streamed: pieces.join(""), pieces: pieces.length };
}

async function embed(asked) {
  const input = ["a cat", "a small cat", "the price of copper"];
  const packed = await asked.embeddings.create({ model: "minilm", input });
  const plain = await asked.embeddings.create({ model: "minilm", input, encoding_format: "float" });
  const [one, two, three] = plain.data.map((each) => each.embedding);
  const dot = (a, b) => a.reduce((sum, value, index) => sum + value * b[index], 0);
  return {
    dimensions: one.length,
    largest_difference: Math.max(...one.map((value, index) => Math.abs(value - packed.data[0].embedding[index]))),
    near: dot(one, two),
    far: dot(one, three),
    tokens: plain.usage.prompt_tokens,
  };
}

async function leave(asked) {
  const story = [{ role: "user", content: "Tell a very long story." }];
  const stream = await asked.chat.completions.create({ model: "twin", messages: story, max_tokens: 1500, stream: true });
  let number = 0;
  for await (const _ of stream) if (++number > 3) break; // leaving the loop aborts the request
  const next = await asked.chat.completions.create({ model: "twin", messages, ...settings });
  return { after: next.choices[0].message.content };
}

async function refusal(ask) {
  try {
    await ask();
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    return {
      class: error.constructor.name,
      status: error.status,
      code: error.code,
      type: error.type,
      message: error.message,
      request_id: error.requestID,
      retry_after: error.headers?.get("retry-after") ?? null,
    };
  }
  return { class: "none" };
}

async function refusals(asked) {
  const create = (from, fields) => from.chat.completions.create({ model: "twin", messages, ...fields });
  const seen = {
    parameter: await refusal(() => create(asked, { temperature: -3 })),
    role: await refusal(() => create(asked, { messages: [{ role: "king" }] })),
    model: await refusal(() => create(asked, { model: "nobody" })),
    path: await refusal(() => asked.files.list()),
  };
  if (!env.KEY) return seen;
  const [narrow, slow] = [client(env.KEY_NARROW), client(env.KEY_SLOW)];
  await slow.models.list();
  await create(slow, settings);
  return {
    ...seen,
    key: await refusal(() => create(client("llmd_wrong"), {})),
    scope: await refusal(() => create(narrow, {})),
    rate: await refusal(() => create(slow, {})),
    backend: await refusal(() => create(asked, { model: "gone" })),
    streamed: await refusal(() => create(asked, { model: "gone", stream: true })),
  };
}

async function main() {
  const asked = client(env.KEY);
  const ids = [];
  for await (const model of asked.models.list()) ids.push(model.id);
  const report = {
    models: ids.sort(),
    model: (await asked.models.retrieve("twin")).id,
    chat: await chat(asked),
    completion: await complete(asked),
    embeddings: env.KEY ? await embed(asked) : null,
    left: await leave(asked),
    refusals: await refusals(asked),
  };
  console.log(JSON.stringify(report));
}

main();

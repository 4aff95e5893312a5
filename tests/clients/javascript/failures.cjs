// What goes wrong on the runtime and the control plane, as the AWS SDK for JavaScript v3 types it.
// Usage: node failures.cjs COMPONENT|"" SERVER_PID. The model server with that pid is killed in the middle of a stream.
"use strict";

const sm = require("@aws-sdk/client-sagemaker");
const rt = require("@aws-sdk/client-sagemaker-runtime");

const [, , component, pid] = process.argv;
const sagemaker = new sm.SageMakerClient({});
const runtime = new rt.SageMakerRuntimeClient({});
const where = { EndpointName: "twin", ...(component && { InferenceComponentName: component }) };
const json = (document) => ({ ContentType: "application/json", Body: JSON.stringify(document) });

async function refusal(client, command) {
  try {
    await client.send(command);
    return { name: "none" };
  } catch (error) {
    return described(error);
  }
}

function described(error) {
  return {
    name: error.name,
    type: error.constructor.name,
    message: error.message ?? error.Message,
    status: error.$metadata?.httpStatusCode,
    fault: error.$fault,
    original: error.OriginalStatusCode,
    code: error.ErrorCode,
  };
}

async function brokenStream() {
  const body = { inputs: "Once upon a time", parameters: { max_new_tokens: 1500, temperature: 0.9 }, stream: true };
  const answer = await runtime.send(new rt.InvokeEndpointWithResponseStreamCommand({ ...where, ...json(body) }));
  let parts = 0;
  try {
    for await (const event of answer.Body) {
      parts += event.PayloadPart ? 1 : 0;
      if (parts === 3) process.kill(Number(pid), "SIGKILL");
    }
  } catch (error) {
    return { parts, typed: error instanceof rt.ModelStreamError, ...described(error) };
  }
  return { parts, name: "none" };
}

// A client that hangs up: the next request is answered although the model was busy with a long one.
async function hangUp() {
  const body = { inputs: "Once upon a time", parameters: { max_new_tokens: 1500, temperature: 0.9 }, stream: true };
  const control = new AbortController();
  const command = new rt.InvokeEndpointWithResponseStreamCommand({ ...where, ...json(body) });
  const answer = await runtime.send(command, { abortSignal: control.signal });
  for await (const event of answer.Body) {
    if (event.PayloadPart) break;
  }
  control.abort();
  const question = { inputs: "The capital of France is", parameters: { max_new_tokens: 4, temperature: 0.01 } };
  const whole = await runtime.send(new rt.InvokeEndpointCommand({ ...where, ...json(question) }));
  return JSON.parse(new TextDecoder().decode(whole.Body));
}

async function main() {
  const badName = { EndpointName: "bad_name!", EndpointConfigName: "c" };
  const seen = {
    absent: await refusal(sagemaker, new sm.DescribeEndpointCommand({ EndpointName: "none" })),
    pattern: await refusal(sagemaker, new sm.CreateEndpointCommand(badName)),
    enumeration: await refusal(sagemaker, new sm.ListEndpointsCommand({ SortBy: "Colour" })),
    unimplemented: await refusal(sagemaker, new sm.ListTrainingJobsCommand({})),
    unknownEndpoint: await refusal(runtime, new rt.InvokeEndpointCommand({ EndpointName: "none", ...json({}) })),
    modelError: await refusal(runtime, new rt.InvokeEndpointCommand({ ...where, ...json({ nonsense: 1 }) })),
    streamRefused: await refusal(
      runtime,
      new rt.InvokeEndpointWithResponseStreamCommand({ ...where, ...json({ nonsense: 1, stream: true }) }),
    ),
    tooLarge: await refusal(
      runtime,
      new rt.InvokeEndpointCommand({ ...where, ContentType: "text/plain", Body: "x".repeat(7 * 1024 * 1024) }),
    ),
    afterHangUp: await hangUp(),
    brokenStream: await brokenStream(),
  };
  console.log(JSON.stringify(seen));
}

main();

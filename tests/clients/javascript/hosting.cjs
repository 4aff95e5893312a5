// Hosting through the AWS SDK for JavaScript v3: create, wait, invoke, stream, scale, update, list, delete.
// Usage: node hosting.cjs model|inference-component. The last line is what was observed, as JSON.
"use strict";

const sm = require("@aws-sdk/client-sagemaker");
const rt = require("@aws-sdk/client-sagemaker-runtime");
const aas = require("@aws-sdk/client-application-auto-scaling");

const [, , type] = process.argv;
const role = process.env.AWS_ARN_ROLE;
const image = "763104351884.dkr.ecr.eu-central-1.amazonaws.com/djl-inference:0.33.0-lmi15.0.0-cu128";
const sagemaker = new sm.SageMakerClient({});
const runtime = new rt.SageMakerRuntimeClient({});
const scaling = new aas.ApplicationAutoScalingClient({});
const withComponent = type === "inference-component";
const where = { EndpointName: "js", ...(withComponent && { InferenceComponentName: "js" }) };
const question = { inputs: "The capital of France is", parameters: { max_new_tokens: 8, temperature: 0.01 } };
const waiting = { client: sagemaker, maxWaitTime: 120, minDelay: 1, maxDelay: 1 };
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function deploy(suffix) {
  const model = `js-${suffix}`;
  const made = await sagemaker.send(
    new sm.CreateModelCommand({
      ModelName: model,
      ExecutionRoleArn: role,
      PrimaryContainer: { Image: image, Environment: { HF_MODEL_ID: "x/y" } },
      Tags: [{ Key: "team", Value: "judges é" }],
    }),
  );
  await sagemaker.send(
    new sm.CreateEndpointConfigCommand({
      EndpointConfigName: model,
      ...(withComponent && { ExecutionRoleArn: role }),
      ProductionVariants: [
        {
          VariantName: "AllTraffic",
          InstanceType: "ml.g5.2xlarge",
          InitialInstanceCount: 1,
          ...(!withComponent && { ModelName: model, InitialVariantWeight: 1 }),
        },
      ],
    }),
  );
  return made.ModelArn;
}

// The SDK has no waiter for inference components.
async function componentRests() {
  for (;;) {
    const found = await sagemaker.send(new sm.DescribeInferenceComponentCommand({ InferenceComponentName: "js" }));
    if (!found.InferenceComponentStatus.endsWith("ing")) return found;
    await pause(100);
  }
}

async function componentGone() {
  for (;;) {
    try {
      await sagemaker.send(new sm.DescribeInferenceComponentCommand({ InferenceComponentName: "js" }));
    } catch (error) {
      return { name: error.name, message: error.message, status: error.$metadata.httpStatusCode };
    }
    await pause(100);
  }
}

async function makeComponent() {
  await sagemaker.send(
    new sm.CreateInferenceComponentCommand({
      InferenceComponentName: "js",
      EndpointName: "js",
      VariantName: "AllTraffic",
      Specification: {
        ModelName: "js-1",
        ComputeResourceRequirements: {
          MinMemoryRequiredInMb: 1024,
          NumberOfAcceleratorDevicesRequired: 1,
          NumberOfCpuCoresRequired: 2,
        },
      },
      RuntimeConfig: { CopyCount: 1 },
    }),
  );
  return componentRests();
}

async function ask() {
  const answer = await runtime.send(
    new rt.InvokeEndpointCommand({ ...where, ContentType: "application/json", Body: JSON.stringify(question) }),
  );
  const document = JSON.parse(new TextDecoder().decode(answer.Body));
  return {
    text: (Array.isArray(document) ? document[0] : document).generated_text,
    variant: answer.InvokedProductionVariant,
    contentType: answer.ContentType,
  };
}

async function stream() {
  const body = { ...question, stream: true, parameters: { ...question.parameters, max_new_tokens: 60 } };
  const answer = await runtime.send(
    new rt.InvokeEndpointWithResponseStreamCommand({
      ...where,
      ContentType: "application/json",
      Body: JSON.stringify(body),
    }),
  );
  const began = performance.now();
  const arrivals = [];
  let bytes = "";
  const decoder = new TextDecoder();
  for await (const event of answer.Body) {
    arrivals.push(performance.now() - began);
    bytes += decoder.decode(event.PayloadPart.Bytes, { stream: true });
  }
  return { parts: arrivals.length, spread_ms: arrivals.at(-1) - arrivals[0], bytes };
}

async function scale() {
  const target = withComponent
    ? { ResourceId: "inference-component/js", ScalableDimension: "sagemaker:inference-component:DesiredCopyCount" }
    : { ResourceId: "endpoint/js/variant/AllTraffic", ScalableDimension: "sagemaker:variant:DesiredInstanceCount" };
  const it = { ServiceNamespace: "sagemaker", ...target };
  const metric = withComponent
    ? "SageMakerInferenceComponentInvocationsPerCopy"
    : "SageMakerVariantInvocationsPerInstance";
  await scaling.send(new aas.RegisterScalableTargetCommand({ ...it, MinCapacity: 1, MaxCapacity: 2 }));
  const policy = await scaling.send(
    new aas.PutScalingPolicyCommand({
      ...it,
      PolicyName: "p",
      PolicyType: "TargetTrackingScaling",
      TargetTrackingScalingPolicyConfiguration: {
        TargetValue: 5,
        PredefinedMetricSpecification: { PredefinedMetricType: metric },
      },
    }),
  );
  const listed = await scaling.send(new aas.DescribeScalableTargetsCommand({ ServiceNamespace: "sagemaker" }));
  await scaling.send(new aas.DeleteScalingPolicyCommand({ ...it, PolicyName: "p" }));
  await scaling.send(new aas.DeregisterScalableTargetCommand(it));
  return {
    alarms: policy.Alarms.map((alarm) => alarm.AlarmName.replace(/[0-9a-f-]{36}$/, "")),
    target: listed.ScalableTargets.map((found) => ({ max: found.MaxCapacity, made: found.CreationTime instanceof Date })),
  };
}

async function update() {
  if (withComponent) {
    await sagemaker.send(
      new sm.UpdateInferenceComponentRuntimeConfigCommand({
        InferenceComponentName: "js",
        DesiredRuntimeConfig: { CopyCount: 0 },
      }),
    );
    const found = await componentRests();
    const refused = await ask().catch((error) => ({ name: error.name, message: error.message }));
    return { copies: found.RuntimeConfig.CurrentCopyCount, refused };
  }
  await deploy("2");
  await sagemaker.send(new sm.UpdateEndpointCommand({ EndpointName: "js", EndpointConfigName: "js-2" }));
  await sm.waitUntilEndpointInService(waiting, { EndpointName: "js" });
  const found = await sagemaker.send(new sm.DescribeEndpointCommand({ EndpointName: "js" }));
  return { config: found.EndpointConfigName, text: (await ask()).text };
}

async function listed() {
  const names = [];
  const pages = sm.paginateListModels({ client: sagemaker, pageSize: 1 }, { NameContains: "js", SortBy: "Name", SortOrder: "Ascending" });
  let count = 0;
  for await (const page of pages) {
    count += 1;
    names.push(...page.Models.map((model) => model.ModelName));
  }
  return { names, count };
}

async function remove() {
  let absent = null;
  if (withComponent) {
    await sagemaker.send(new sm.DeleteInferenceComponentCommand({ InferenceComponentName: "js" }));
    absent = await componentGone();
  }
  await sagemaker.send(new sm.DeleteEndpointCommand({ EndpointName: "js" }));
  const gone = await sm.waitUntilEndpointDeleted(waiting, { EndpointName: "js" });
  for (const model of (await listed()).names) {
    await sagemaker.send(new sm.DeleteEndpointConfigCommand({ EndpointConfigName: model }));
    await sagemaker.send(new sm.DeleteModelCommand({ ModelName: model }));
  }
  return { waiter: gone.state, absent };
}

async function main() {
  const seen = {};
  const arn = await deploy("1");
  seen.tags = (await sagemaker.send(new sm.ListTagsCommand({ ResourceArn: arn }))).Tags;
  await sagemaker.send(new sm.CreateEndpointCommand({ EndpointName: "js", EndpointConfigName: "js-1" }));
  seen.waiter = (await sm.waitUntilEndpointInService(waiting, { EndpointName: "js" })).state;
  const endpoint = await sagemaker.send(new sm.DescribeEndpointCommand({ EndpointName: "js" }));
  seen.endpoint = { status: endpoint.EndpointStatus, made: endpoint.CreationTime instanceof Date };
  if (withComponent) seen.component = (await makeComponent()).InferenceComponentStatus;
  seen.answer = await ask();
  seen.stream = await stream();
  seen.scaling = await scale();
  seen.update = await update();
  seen.listed = await listed();
  seen.removed = await remove();
  console.log(JSON.stringify(seen));
}

main();

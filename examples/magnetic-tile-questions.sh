#!/usr/bin/env bash
# What else is asked of the magnetic tiles, with FPN on one fold: how many pictures, painted how, for which masks, by whom.
#
#   isdm run examples/magnetic-tile-folds.yaml --out runs/tiles --fold 0
#   bash examples/magnetic-tile-questions.sh runs/tiles/fold-0
#
# Every command goes on where it was ended, so `timeout 540 bash …` may be given again and again. The comparison that is
# tested is that of magnetic-tile-folds.yaml; what follows is read with its intervals.
set -euo pipefail
fold=$1
data=$fold/data model=$fold/model asked=$fold/questions
mkdir -p "$asked"
painting=(--data "$data" --guidance 2 --batch-size 32)
few_steps=(--sampler dpmsolver++-sde --steps 20)
networks=(--encoder timm-tf_efficientnet_lite0 --encoder-weights imagenet --set loss=dice+crossentropy
  --set learning_rate=1e-3 --set batch_size=8 --set batch_norm=precise)
study=(--architectures fpn --repeats 3 --protocol equal-steps --set baseline=augmented "${networks[@]}")

# How many? One generator paints 1,000: beside all real images, and without any.
isdm sample "$model" "${painting[@]}" "${few_steps[@]}" --masks augmented --out "$asked/many" -n 1000
isdm evaluate "$data" --out "$asked/how-many" "${study[@]}" --epochs 2 --arms augmented \
  --real-counts 0,all --synthetic-counts 0,100,equal,700,1000 --synthetic "many=$asked/many"

# Would something simpler do? Real images duplicated, or their defects cut out and pasted, as many as synthetic ones.
isdm evaluate "$data" --out "$asked/simpler" "${study[@]}" --epochs 3 \
  --arms augmented,duplicated+augmented,pasted+augmented \
  --real-counts all --synthetic-counts 0,equal --synthetic "synthetic=$fold/synthetic"

# For which masks, into which backgrounds, all pairs or chosen ones?
isdm sample "$model" "${painting[@]}" "${few_steps[@]}" --masks real --out "$asked/real-masks" -n 400
isdm sample "$model" "${painting[@]}" "${few_steps[@]}" --masks generated --out "$asked/generated" -n 400
isdm sample "$model" "${painting[@]}" "${few_steps[@]}" --masks augmented --background real \
  --out "$asked/backgrounds" -n 400
isdm select "$fold/synthetic" --real "$data" --out "$asked/selected" "${networks[@]}"
isdm evaluate "$data" --out "$asked/which-pairs" "${study[@]}" --epochs 3 --arms augmented \
  --real-counts 0,all --synthetic-counts 0,200 \
  --synthetic "augmented=$fold/synthetic" --synthetic "real=$asked/real-masks" \
  --synthetic "generated=$asked/generated" --synthetic "backgrounds=$asked/backgrounds" \
  --synthetic "selected=$asked/selected"

# By whom? An earlier checkpoint, and a fine-tuned model.
isdm train "$data" --out "$asked/early" --config "$model/config.yaml" --steps 300
isdm finetune "$model" --data "$data" --out "$asked/tuned" --drop-rate 0.2 --steps 300 --set batch_size=8
isdm sample "$asked/early" "${painting[@]}" "${few_steps[@]}" --masks augmented --out "$asked/by-early" -n 400
isdm sample "$asked/tuned" "${painting[@]}" "${few_steps[@]}" --masks augmented --out "$asked/by-tuned" -n 400
isdm evaluate "$data" --out "$asked/by-whom" "${study[@]}" --epochs 3 --arms augmented \
  --real-counts 0,all --synthetic-counts 0,equal \
  --synthetic "late=$fold/synthetic" --synthetic "early=$asked/by-early" --synthetic "tuned=$asked/by-tuned"

# In how many steps? 300 take fifteen times as long, so these are fewer: respaced, and rescaled as the paper's code did.
isdm sample "$model" "${painting[@]}" --masks augmented --sampler dpmsolver++-sde --steps 10 --out "$asked/10" -n 128
isdm sample "$model" "${painting[@]}" --masks augmented --sampler ddpm --steps 300 --out "$asked/300" -n 128
isdm sample "$model" "${painting[@]}" --masks augmented --sampler ddpm --steps 300 --timesteps rescaled \
  --out "$asked/300-rescaled" -n 128
isdm evaluate "$data" --out "$asked/steps" "${study[@]}" --epochs 3 --arms augmented \
  --real-counts 0,all --synthetic-counts 0,128 \
  --synthetic "20=$fold/synthetic" --synthetic "10=$asked/10" --synthetic "300=$asked/300" \
  --synthetic "300-rescaled=$asked/300-rescaled"

# From fewer real images? Everything anew from about 16, 32, 64 and 128; validation and test images stay the same.
for few in 16 32 64 128; do
  isdm run "$fold/experiment.yaml" --out "$asked/of-$few" --set "data.train=$few" --set sample.num_samples=200 \
    --set evaluate.architectures=[fpn] --set evaluate.synthetic_counts=[0,equal,all] --set evaluate.epochs=6
done

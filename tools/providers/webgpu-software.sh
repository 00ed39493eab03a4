#!/usr/bin/env bash
# Runs a command where WebGPU works without a GPU: through SwiftShader, a Vulkan driver in software. Debian and Ubuntu, x64.
#
#     tools/providers/webgpu-software.sh npx vitest run test/golden.test.ts
#
# The driver comes from Debian's chromium-common (32 MB, fetched once, nothing is installed). VITPASS_PROVIDER is set to webgpu.
set -euo pipefail
driver="${XDG_CACHE_HOME:-$HOME/.cache}/vitpass/swiftshader"

if [ ! -e "$driver/vk_swiftshader_icd.json" ]; then
  fetched=$(mktemp -d)
  trap 'rm -rf "$fetched"' EXIT
  (cd "$fetched" && apt-get download -qq chromium-common && dpkg-deb -x chromium-common_*.deb files)
  mkdir -p "$driver"
  cp "$fetched"/files/usr/lib/chromium/{libvk_swiftshader.so,libvulkan.so.1,vk_swiftshader_icd.json} "$driver"
fi

export VK_ICD_FILENAMES="$driver/vk_swiftshader_icd.json"
export LD_LIBRARY_PATH="$driver${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export VITPASS_PROVIDER=webgpu
"$@"

import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vite'

// `npm run dev` sends the API calls to a running server: `konsort server`, or the one that KONSORT_API names.
const server = process.env.KONSORT_API ?? 'http://127.0.0.1:8080'

export default defineConfig({
  plugins: [svelte()],
  server: { proxy: { '/v1': server, '/livez': server, '/readyz': server, '/metrics': server } },
  worker: { format: 'iife' as const },
  build: {
    target: 'es2022',
    manifest: true,
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1000,
    reportCompressedSize: false,
  },
})

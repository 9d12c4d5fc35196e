# One image for every process of Aegis: `docker build -t aegis .`, then `docker run aegis gateway`.
# Without the extra `embedded`: production names its own servers.

FROM python:3.11.14-slim-bookworm AS build
WORKDIR /opt/aegis
RUN python -m venv /opt/venv
# The dependencies first: they change more rarely than the code, and their layer is kept.
COPY pyproject.toml requirements.lock ./
RUN mkdir -p aegis agents channels enrichment gateway logql monitors privacy query storage tables topics web \
    && /opt/venv/bin/pip install --no-cache-dir --constraint requirements.lock --editable .
COPY aegis aegis
COPY agents agents
COPY channels channels
COPY enrichment enrichment
COPY gateway gateway
COPY logql logql
COPY monitors monitors
COPY privacy privacy
COPY query query
COPY storage storage
COPY tables tables
COPY topics topics
COPY web web
COPY clickhouse clickhouse
COPY timescaledb timescaledb
RUN /opt/venv/bin/python -m compileall -q /opt/aegis && /opt/venv/bin/aegis --help > /dev/null

FROM python:3.11.14-slim-bookworm
RUN groupadd --system --gid 10001 aegis \
    && useradd --system --uid 10001 --gid aegis --home-dir /var/lib/aegis --create-home aegis
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/aegis /opt/aegis
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    AEGIS_HOST=0.0.0.0 \
    AEGIS_DATA_DIR=/var/lib/aegis
WORKDIR /var/lib/aegis
USER aegis
EXPOSE 3000 3001 3002
# SIGTERM lets accepted requests finish.
STOPSIGNAL SIGTERM
ENTRYPOINT ["aegis"]
CMD ["--help"]
